//! Addresses of resources, and templates for many of them: a part of RFC 6570 that reads both ways.
//!
//! `{name}` stands for one or more characters other than `/`, `{+name}` for any text; nothing else is known.

use std::collections::BTreeMap;

/// Longest address, in bytes.
const MAX_URI_BYTES: usize = 8 << 10;

/// Most variables of a template.
const MAX_VARIABLES: usize = 8;

/// An address, or a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    text: String,
    /// What stands before each variable.
    variables: Vec<(String, Variable)>,
    /// What stands after the last one.
    rest: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    /// May hold `/`, and be empty.
    any: bool,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_URI_BYTES {
            return Err(format!("the address has more than {MAX_URI_BYTES} bytes"));
        }
        if !has_scheme(text) {
            return Err(format!(
                "the address `{}` begins with no scheme such as `name:`",
                text.escape_debug()
            ));
        }
        let (mut variables, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (inner, after) =
                after.split_once('}').ok_or_else(|| format!("`{text}` has a `{{` without its `}}`"))?;
            let (any, name) = inner.strip_prefix('+').map_or((false, inner), |name| (true, name));
            let is_name = |name: &str| {
                !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            };
            if !is_name(name) {
                return Err(format!(
                    "`{{{}}}` is no variable; write `{{name}}` or `{{+name}}`",
                    inner.escape_debug()
                ));
            }
            if before.is_empty() && !variables.is_empty() {
                return Err(format!("nothing stands between two variables of `{text}`"));
            }
            variables.push((before.to_owned(), Variable { name: name.to_owned(), any }));
            rest = after;
        }
        if variables.len() > MAX_VARIABLES {
            return Err(format!("`{text}` has more than {MAX_VARIABLES} variables"));
        }
        Ok(Self { text: text.to_owned(), variables, rest: rest.to_owned() })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it stands for many addresses.
    pub(crate) fn has_variables(&self) -> bool {
        !self.variables.is_empty()
    }

    /// Whether one of its variables has this name.
    pub(crate) fn has_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|(_, variable)| variable.name == name)
    }

    /// The variables of an address that fits, with percent-encoding undone.
    pub(crate) fn matches(&self, uri: &str) -> Option<BTreeMap<String, String>> {
        if uri.len() > MAX_URI_BYTES {
            return None;
        }
        let mut found = BTreeMap::new();
        let mut left = uri;
        for (at, (before, variable)) in self.variables.iter().enumerate() {
            left = left.strip_prefix(before.as_str())?;
            let is_last = at + 1 == self.variables.len();
            let end = match self.variables.get(at + 1) {
                Some((next, _)) => left.find(next.as_str())?,
                None if is_last => left.strip_suffix(self.rest.as_str())?.len(),
                None => return None,
            };
            let (value, after) = left.split_at(end);
            let fits = variable.any || !value.is_empty() && !value.contains('/');
            if !fits {
                return None;
            }
            found.insert(variable.name.clone(), decoded(value)?);
            left = after;
        }
        (left == self.rest).then_some(found)
    }
}

/// `name:`, see RFC 3986, section 3.1.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
            && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
    })
}

/// Undoes percent-encoding; nothing if it is broken, or comes to something that is no text.
fn decoded(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        // `from_str_radix` would take a sign, too.
        let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| plain)?);
    }
    let text = String::from_utf8(bytes).ok()?;
    (!text.contains('\0')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: &str, uri: &str) -> Option<Vec<(String, String)>> {
        Template::parse(template).unwrap().matches(uri).map(|found| found.into_iter().collect())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn variables_are_found() {
        assert_eq!(found("test://t/{id}/data", "test://t/123/data"), Some(vec![pair("id", "123")]));
        assert_eq!(
            found("root://{root}/{+path}", "root://work/a/b%20c.txt"),
            Some(vec![pair("path", "a/b c.txt"), pair("root", "work")])
        );
        assert_eq!(found("root://{root}/{+path}", "root://work/").unwrap()[0], pair("path", ""));
        assert_eq!(found("a:b", "a:b"), Some(vec![]));
    }

    #[test]
    fn other_addresses_do_not_fit() {
        for uri in
            ["test://t/1/2/data", "test://t//data", "test://t/1/data/", "test://t/1", "x", "", "test://t/"]
        {
            assert_eq!(found("test://t/{id}/data", uri), None, "{uri}");
        }
        assert_eq!(found("a:b", "a:bc"), None);
        for broken in ["a:%", "a:%4", "a:%zz", "a:%+1", "a:%ff", "a:%00"] {
            assert_eq!(found("a:{x}", broken), None, "{broken}");
        }
        assert_eq!(found("a:{+x}", &format!("a:{}", "x".repeat(MAX_URI_BYTES))), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for bad in ["", "/a", "a b:c", "1a:b", "a:{", "a:{x", "a:{}", "a:{/x}", "a:{x}{y}", "a:{x y}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
        assert!(Template::parse("a://b/{x}-{y}").unwrap().has_variable("y"));
    }
}
