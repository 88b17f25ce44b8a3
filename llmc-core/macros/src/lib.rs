//! Attribute macros of `llmc-core`: `#[arguments]`, `#[output]` and `#[tool]`.
//!
//! The first two exist because the derives of serde and schemars need to be told where the two crates are when a
//! plugin depends on `llmc-core` alone. All three leave the item as it is: they put attributes in front of it or
//! an impl behind it.

mod fields;
mod function;

use proc_macro::{Span, TokenStream, TokenTree};

use crate::function::Function;

// `Serialize` lets schemars show default values, and lets arguments appear in calls of other tools and in results.
const ARGUMENTS: &str = r#"
    #[derive(
        ::llmc_core::serde::Deserialize, ::llmc_core::serde::Serialize, ::llmc_core::schemars::JsonSchema
    )]
    #[serde(crate = "::llmc_core::serde", deny_unknown_fields)]
    #[schemars(crate = "::llmc_core::schemars")]
"#;

const OUTPUT: &str = r#"
    #[derive(::llmc_core::serde::Serialize, ::llmc_core::schemars::JsonSchema)]
    #[serde(crate = "::llmc_core::serde")]
    #[schemars(crate = "::llmc_core::schemars")]
"#;

/// Marks the arguments of a tool, a type inside them, or the configuration of a plugin.
///
/// Derives `Deserialize`, `Serialize` and `JsonSchema` and refuses unknown fields. `#[serde(..)]` and
/// `#[schemars(..)]` work beside it, for example `#[serde(default)]` or `#[schemars(range(min = 1, max = 100))]`.
///
/// The build stops at a field without a doc comment, because a model would have to guess what belongs there; at
/// `#[serde(flatten)]`, with which unknown fields cannot be refused; and at types whose JSON form surprises (tuples,
/// `Duration`, `PathBuf`, 128-bit numbers), with the type to take instead. Where names say everything and
/// every word is paid for in every conversation, `#[arguments(undocumented)]` lets fields go without doc comments.
#[proc_macro_attribute]
pub fn arguments(options: TokenStream, item: TokenStream) -> TokenStream {
    let names_suffice = match options.to_string().as_str() {
        "" => false,
        "undocumented" => true,
        _ => {
            return error(
                "the only option of `#[arguments]` is `undocumented`; use `#[serde(..)]` and `#[schemars(..)]` beside it",
            );
        }
    };
    let problems = fields::problems(item.clone(), names_suffice);
    let errors = problems.into_iter().map(|problem| error_at(problem.at, &problem.message));
    let errors: TokenStream = errors.collect();
    let described = match type_name(item.clone()) {
        Ok(name) => parse(&format!(
            "impl ::llmc_core::export::Described for {name} {{ const DESCRIBED: bool = {}; }}",
            fields::is_described(item.clone())
        )),
        // A generic type is never the arguments of a tool, only part of some.
        Err(_) => TokenStream::new(),
    };
    join([parse(ARGUMENTS), item, described, errors])
}

/// Marks the result of a tool or a type inside one.
///
/// Derives `Serialize` and `JsonSchema`, and makes the type a `StructuredOutput` whose text form is its JSON.
/// `#[output(custom_text)]` leaves the `StructuredOutput` impl to you.
#[proc_macro_attribute]
pub fn output(options: TokenStream, item: TokenStream) -> TokenStream {
    match options.to_string().as_str() {
        "" => match type_name(item.clone()) {
            Ok(name) => {
                let text_form = parse(&format!("impl ::llmc_core::StructuredOutput for {name} {{}}"));
                join([parse(OUTPUT), item, text_form])
            }
            Err(message) => error(message),
        },
        "custom_text" => join([parse(OUTPUT), item]),
        _ => error("the only option of `#[output]` is `custom_text`"),
    }
}

/// Makes a tool of a function: the short form of `impl Tool`.
///
/// `#[tool(READ_ONLY)] fn count_words(args: CountWords, ctx: &Context) -> ToolResult<Count>` implements `Tool` for
/// `CountWords`: the name of the tool is that of the function, its description the doc comment of `CountWords`.
/// The option is what follows `Annotations::`, such as `READ_ONLY`, `ADDITIVE`, `DESTRUCTIVE` or
/// `READ_ONLY.open_world(true)`; without it, the worst is assumed.
///
/// The build stops when the name of the function cannot be the name of a tool, and when the type of the arguments has
/// no doc comment.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    let function = match Function::find(item.clone()) {
        Ok(function) => function,
        Err(problem) => return error_at(problem.at, &problem.message),
    };
    let annotations = if options.is_empty() { "new()".to_owned() } else { options.to_string() };
    let tool = function.as_tool(&annotations);
    join([item, parse(&tool)])
}

fn join(parts: impl IntoIterator<Item = TokenStream>) -> TokenStream {
    parts.into_iter().collect()
}

/// The name that follows `struct` or `enum`.
fn type_name(item: TokenStream) -> Result<String, &'static str> {
    let is_keyword = |token: &TokenTree| matches!(token.to_string().as_str(), "struct" | "enum");
    let mut tokens = item.into_iter().skip_while(|token| !is_keyword(token)).skip(1);
    let Some(TokenTree::Ident(name)) = tokens.next() else {
        return Err("`#[output]` goes on a struct or an enum");
    };
    match tokens.next() {
        Some(TokenTree::Punct(punct)) if punct.as_char() == '<' => {
            Err("a generic type needs `#[output(custom_text)]` and its own `StructuredOutput` impl")
        }
        _ => Ok(name.to_string()),
    }
}

fn error(message: &str) -> TokenStream {
    parse(&format!("::core::compile_error!({message:?});"))
}

/// An error that the compiler shows at a place in the author's code.
fn error_at(place: Span, message: &str) -> TokenStream {
    let at_place = |mut token: TokenTree| {
        token.set_span(place);
        token
    };
    error(message).into_iter().map(at_place).collect()
}

fn parse(source: &str) -> TokenStream {
    source.parse().expect("text made of valid tokens is valid")
}
