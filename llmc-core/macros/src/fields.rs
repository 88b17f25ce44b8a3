//! What `#[arguments]` looks for in the fields of a type: words for the model, and types that do not travel well.

use proc_macro::{Delimiter, Group, Span, TokenStream, TokenTree};

/// Something about a field that would be found out late: by a model, or by a client.
pub(crate) struct Problem {
    pub(crate) at: Span,
    pub(crate) message: String,
}

/// Types whose schema or JSON form surprises, and what to write instead.
const TRAPS: [(&str, &str); 6] = [
    ("u128", "JSON numbers do not hold 128 bits; take a `String` or a `u64`"),
    ("i128", "JSON numbers do not hold 128 bits; take a `String` or an `i64`"),
    (
        "Duration",
        "a `Duration` is `{secs, nanos}` in JSON; take a number with its unit in the name, such as `timeout_ms: u64`",
    ),
    (
        "SystemTime",
        "a `SystemTime` is `{secs_since_epoch, ..}` in JSON; take a `String` with an RFC 3339 time",
    ),
    (
        "PathBuf",
        "a `PathBuf` names a file of the machine, of which a plugin sees none; take a `String` and open it below a root",
    ),
    ("OsString", "an `OsString` has no form in JSON; take a `String`"),
];

/// Everything that is wrong with the fields of a struct, or of the variants of an enum.
///
/// With `names_suffice` a field may go without a doc comment.
pub(crate) fn problems(item: TokenStream, names_suffice: bool) -> Vec<Problem> {
    let mut found = Found { problems: Vec::new(), names_suffice };
    if let Some(body) = item.into_iter().find_map(braces) {
        found.read_body(body);
    }
    found.problems
}

struct Found {
    problems: Vec<Problem>,
    names_suffice: bool,
}

impl Found {
    fn add(&mut self, at: Span, message: String) {
        self.problems.push(Problem { at, message });
    }

    fn read_body(&mut self, body: TokenStream) {
        let mut tokens = body.into_iter().peekable();
        while tokens.peek().is_some() {
            let attributes = take_attributes(&mut tokens);
            let rest = until_comma(&mut tokens);
            // A variant with fields of its own.
            match rest.as_slice() {
                [TokenTree::Ident(_), TokenTree::Group(group)] if group.delimiter() == Delimiter::Brace => {
                    self.read_body(group.stream());
                }
                _ => self.read_field(&attributes, &rest),
            }
        }
    }

    /// Reads `name: Type`; what has no `:` is a variant, whose name says enough.
    fn read_field(&mut self, attributes: &[Group], tokens: &[TokenTree]) {
        let [name @ TokenTree::Ident(_), TokenTree::Punct(colon), kind @ ..] = tokens else { return };
        if colon.as_char() != ':' {
            return;
        }
        if !self.names_suffice && !has_words(attributes) {
            self.add(
                name.span(),
                format!("argument `{name}` needs a doc comment: a model reads it to know what to put there"),
            );
        }
        if attributes.iter().any(has_flatten) {
            self.add(
                name.span(),
                format!("argument `{name}`: `flatten` cannot be combined with the refusal of unknown fields; write the fields out"),
            );
        }
        self.find_traps(name, kind);
    }

    /// Finds types that do not travel well, also inside other ones.
    fn find_traps(&mut self, name: &TokenTree, kind: &[TokenTree]) {
        for token in kind {
            match token {
                TokenTree::Ident(ident) => {
                    let ident = ident.to_string();
                    if let Some((_, advice)) = TRAPS.iter().find(|(trap, _)| *trap == ident) {
                        self.add(token.span(), format!("argument `{name}`: {advice}"));
                    }
                }
                TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => self.add(
                    group.span(),
                    format!("argument `{name}`: a tuple is a list of mixed types, which many clients refuse; take a struct marked `#[arguments]`"),
                ),
                TokenTree::Group(group) => {
                    self.find_traps(name, &group.stream().into_iter().collect::<Vec<_>>());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

/// Whether a type says what it is, in front of its name.
pub(crate) fn is_described(item: TokenStream) -> bool {
    has_words(&take_attributes(&mut item.into_iter().peekable()))
}

fn has_words(attributes: &[Group]) -> bool {
    attributes.iter().any(|attribute| {
        let text = attribute.stream().to_string();
        text.starts_with("doc") || (text.starts_with("schemars") && text.contains("description"))
    })
}

/// `#[serde(flatten)]`, among other options or alone.
fn has_flatten(attribute: &Group) -> bool {
    let mut tokens = attribute.stream().into_iter();
    let is_serde = tokens.next().is_some_and(|token| token.to_string() == "serde");
    let Some(TokenTree::Group(options)) = tokens.next() else { return false };
    is_serde
        && options
            .stream()
            .into_iter()
            .any(|token| matches!(token, TokenTree::Ident(name) if name.to_string() == "flatten"))
}

type Tokens = std::iter::Peekable<proc_macro::token_stream::IntoIter>;

fn take_attributes(tokens: &mut Tokens) -> Vec<Group> {
    let mut attributes = Vec::new();
    while matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '#') {
        tokens.next();
        if let Some(TokenTree::Group(group)) = tokens.next() {
            attributes.push(group);
        }
    }
    attributes
}

/// What stands before the next comma that is not inside `<..>`; takes the comma too.
fn until_comma(tokens: &mut Tokens) -> Vec<TokenTree> {
    let mut depth = 0;
    let mut taken = Vec::new();
    for token in tokens {
        if let TokenTree::Punct(punct) = &token {
            match punct.as_char() {
                '<' => depth += 1,
                '>' => depth -= 1,
                ',' if depth == 0 => break,
                _ => {}
            }
        }
        taken.push(token);
    }
    // `pub(crate)` in front of a name is a group too: nothing of a type.
    match taken.as_slice() {
        [TokenTree::Ident(word), TokenTree::Group(_), ..] if word.to_string() == "pub" => taken.split_off(2),
        [TokenTree::Ident(word), ..] if word.to_string() == "pub" => taken.split_off(1),
        _ => taken,
    }
}

fn braces(token: TokenTree) -> Option<TokenStream> {
    match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
        _ => None,
    }
}
