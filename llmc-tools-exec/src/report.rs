//! What the code says about itself at its end: a value, an error, an exit code. All of it is data.

use llmc_core::prelude::*;
use llmc_core::serde::Deserialize;

/// The body of the last frame.
#[derive(Debug, Default, Deserialize)]
#[serde(crate = "llmc_core::serde", default)]
pub(crate) struct Report {
    pub(crate) value: Option<Reported>,
    pub(crate) error: Option<Raised>,
    /// What the code passed to `sys.exit`.
    pub(crate) exit_code: Option<i32>,
    /// Files that were asked for and not sent, with the reason.
    pub(crate) files_omitted: Option<Vec<(String, String)>>,
    /// Whether the error is about a limit that the interpreter keeps itself.
    pub(crate) limit: bool,
}

/// A value as the code's interpreter wrote it.
#[derive(Debug, Default, Deserialize)]
#[serde(crate = "llmc_core::serde", default)]
pub(crate) struct Reported {
    /// JSON text, if the value has such a form and is not too long.
    json: Option<String>,
    /// Another form, maybe cut.
    repr: Option<String>,
    /// Length of the whole form, if it was cut.
    bytes: Option<u64>,
}

/// An exception that nothing in the code caught.
#[derive(Debug, Deserialize)]
#[serde(crate = "llmc_core::serde")]
pub(crate) struct Raised {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) traceback: Option<String>,
    #[serde(default)]
    pub(crate) line: Option<u64>,
}

/// A value in the form that the caller gets.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Shown {
    pub(crate) value: Option<Value>,
    pub(crate) repr: Option<String>,
    pub(crate) cut: bool,
}

impl Reported {
    pub(crate) fn show(self) -> Shown {
        let cut = self.bytes.is_some();
        match self.json {
            Some(json) => match parse_exactly(&json) {
                Some(value) => Shown { value: Some(value), repr: None, cut },
                None => Shown { value: None, repr: Some(json), cut },
            },
            None => Shown { value: None, repr: self.repr, cut },
        }
    }
}

/// Parses JSON, unless a number in it would change: Python's integers know no bounds.
fn parse_exactly(json: &str) -> Option<Value> {
    let value = serde_json::from_str(json).ok()?;
    numbers(json).all(is_kept).then_some(value)
}

/// The numbers of a JSON text, which must be well-formed.
fn numbers(json: &str) -> impl Iterator<Item = &str> {
    // Every other piece between quotes that are not escaped is a string.
    let mut rest = json;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
            rest = &rest[start..];
            if let Some(string) = rest.strip_prefix('"') {
                rest = after_string(string);
                continue;
            }
            let end = rest
                .find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
                .unwrap_or(rest.len());
            let (number, after) = rest.split_at(end);
            rest = after;
            return Some(number);
        }
    })
}

/// What follows a string whose opening quote is gone.
fn after_string(string: &str) -> &str {
    let mut escaped = false;
    let end = string.find(|c| {
        let is_end = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        is_end
    });
    end.map_or("", |end| &string[end + 1..])
}

fn is_kept(number: &str) -> bool {
    let is_integer = !number.contains(['.', 'e', 'E']);
    !is_integer || number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> Shown {
        Reported { json: Some(json.into()), ..Reported::default() }.show()
    }

    #[test]
    fn json_becomes_a_value() {
        for json in
            ["1", "-9223372036854775808", "18446744073709551615", "[1,2.5,\"x\",null]", "{\"a\":{\"b\":[]}}"]
        {
            assert_eq!(shown(json).value.unwrap().to_string(), json);
        }
    }

    #[test]
    fn floats_keep_every_bit() {
        for float in
            [0.1 + 0.2, 1.0 / 3.0, 5e-324, f64::MAX, 123_456_789.123_456_79, 2.0_f64.powi(60) + 256.0]
        {
            let value = shown(&format!("{float:?}")).value.unwrap();
            assert_eq!(value.as_f64().unwrap().to_bits(), float.to_bits(), "{float:?}");
        }
    }

    #[test]
    fn numbers_that_would_change_stay_text() {
        for json in [
            "18446744073709551616",
            "[1,{\"a\":-9223372036854775809}]",
            "[\"\\\"\",1267650600228229401496703205376]",
        ] {
            assert_eq!(shown(json), Shown { value: None, repr: Some(json.into()), cut: false });
        }
        // Digits in a string are no number.
        assert!(shown("[\"18446744073709551616\",\"\\\\\",\"\\\"18446744073709551616\"]").value.is_some());
    }

    #[test]
    fn what_cannot_be_parsed_stays_text() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for json in [deep.as_str(), "{", "1e", "", &"9".repeat(5000)] {
            assert_eq!(shown(json).repr.as_deref(), Some(json));
        }
    }
}
