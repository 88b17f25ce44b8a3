//! The little that `#[tool]` needs to know about a function.

use proc_macro::{Delimiter, Spacing, Span, TokenStream, TokenTree};

use crate::fields::Problem;

const SHAPE: &str = "`#[tool]` goes on `fn name(args: Args, ctx: &Context) -> ToolResult<..>`";

/// `fn name(pattern: arguments, ..) -> returns { .. }`
pub(crate) struct Function {
    name: String,
    arguments: String,
    returns: String,
}

impl Function {
    /// Reads the signature; the compiler checks that it is the right one.
    pub(crate) fn find(item: TokenStream) -> Result<Self, Problem> {
        let wrong_shape = || Problem { at: Span::call_site(), message: SHAPE.to_owned() };
        let mut tokens = item.into_iter().skip_while(|token| token.to_string() != "fn").skip(1);
        let Some(TokenTree::Ident(name)) = tokens.next() else { return Err(wrong_shape()) };
        if !is_tool_name(&name.to_string()) {
            let message = format!(
                "`{name}` is no tool name: use `^[a-z][a-z0-9_]{{0,63}}$`, such as `read_file`; clients refuse others"
            );
            return Err(Problem { at: name.span(), message });
        }
        let parameters = match tokens.next() {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => group.stream(),
            _ => return Err(wrong_shape()),
        };
        let arguments = first_type(parameters).ok_or_else(wrong_shape)?;
        let is_body = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        let returns: TokenStream = tokens.skip(2).take_while(|token| !is_body(token)).collect();
        if returns.is_empty() {
            return Err(wrong_shape());
        }
        Ok(Self { name: name.to_string(), arguments: arguments.to_string(), returns: returns.to_string() })
    }

    /// The impl of `Tool` that calls the function.
    pub(crate) fn as_tool(&self, annotations: &str) -> String {
        let Self { name, arguments, returns } = self;
        let tool_name = name.trim_start_matches("r#");
        format!(
            "const _: () = ::core::assert!(
                <{arguments} as ::llmc_core::export::Described>::DESCRIBED,
                \"the arguments of a tool need a doc comment: it is the description by which a model chooses the tool\"
            );
            impl ::llmc_core::Tool for {arguments} {{
                const NAME: &'static str = {tool_name:?};
                const ANNOTATIONS: ::llmc_core::Annotations = ::llmc_core::Annotations::{annotations};
                type Output = <{returns} as ::llmc_core::export::Returned>::Value;
                fn call(self, ctx: &::llmc_core::Context) -> ::llmc_core::ToolResult<Self::Output> {{
                    {name}(self, ctx)
                }}
            }}"
        )
    }
}

/// Whether clients take it; a raw name (`r#match`) counts without its mark.
fn is_tool_name(name: &str) -> bool {
    let name = name.trim_start_matches("r#");
    name.len() <= 64
        && name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// The type of the first parameter: what stands between the first single `:` and the `,` behind it.
fn first_type(parameters: TokenStream) -> Option<TokenStream> {
    let is =
        |token: &TokenTree, letter| matches!(token, TokenTree::Punct(punct) if punct.as_char() == letter);
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':' && punct.spacing() == Spacing::Alone);
    let mut depth = 0;
    let of_first = |token: &TokenTree| {
        if is(token, '<') {
            depth += 1;
        } else if is(token, '>') {
            depth -= 1;
        }
        depth > 0 || !is(token, ',')
    };
    let tokens = parameters.into_iter().skip_while(|token| !is_colon(token)).skip(1);
    let found: TokenStream = tokens.take_while(of_first).collect();
    (!found.is_empty()).then_some(found)
}
