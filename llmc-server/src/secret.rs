//! Secrets: read by the server alone, handed out by name, and masked wherever they would show.

use std::collections::BTreeMap;
use std::fmt;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::config::{Config, SecretSource};
use crate::files;

/// Shorter secrets cannot be told from ordinary text.
const MIN_BYTES: usize = 8;

/// Shorter lines of a secret, such as the first of a key file, are ordinary text.
const MIN_LINE_BYTES: usize = 32;

/// Larger files are no secrets.
const MAX_BYTES: u64 = 64 << 10;

/// The values of all secrets.
#[derive(Default)]
pub(crate) struct Secrets {
    values: BTreeMap<String, String>,
    mask: Mask,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.values.keys()).finish()
    }
}

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// Its file cannot be read.
    #[error("failed to read secret `{name}` from `{file}`: {source}")]
    File {
        /// The secret's name.
        name: String,
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its variable is not set.
    #[error("secret `{name}`: the environment of the server has no variable `{variable}`")]
    Unset {
        /// The secret's name.
        name: String,
        /// The variable.
        variable: String,
    },
    /// It could not be masked.
    #[error("secret `{0}` has fewer than {MIN_BYTES} bytes, so it could not be masked in results")]
    Short(String),
}

impl Secrets {
    /// Reads every secret of the configuration.
    pub(crate) fn read(config: &Config) -> Result<Self, SecretError> {
        let values: BTreeMap<String, String> = config
            .secrets
            .iter()
            .map(|(name, source)| Ok((name.clone(), value(name, source)?)))
            .collect::<Result<_, SecretError>>()?;
        let mask = Mask::new(&values);
        Ok(Self { values, mask })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Replaces every secret in a text.
    pub(crate) fn mask_text(&self, text: String) -> String {
        self.mask.text(text)
    }

    /// Replaces every secret in a text and cuts it afterwards: a cut through a secret would leave a part of it.
    pub(crate) fn mask_and_cut(&self, text: String, max_bytes: usize) -> String {
        let mut text = self.mask_text(text);
        text.truncate(text.floor_char_boundary(max_bytes));
        text
    }

    /// Replaces every secret in every string and key of a value.
    pub(crate) fn mask_value(&self, value: &mut Value) {
        if !self.values.is_empty() {
            self.mask.value(value);
        }
    }

    /// Whether the same values have the same names.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.values == other.values
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

fn value(name: &str, source: &SecretSource) -> Result<String, SecretError> {
    let value = match source {
        SecretSource::File(path) => {
            let text = files::read_text(path, MAX_BYTES).map_err(|source| SecretError::File {
                name: name.into(),
                file: path.display().to_string(),
                source,
            })?;
            let line = text.strip_suffix('\n').unwrap_or(&text);
            line.strip_suffix('\r').unwrap_or(line).to_owned()
        }
        SecretSource::Env(variable) => std::env::var(variable)
            .map_err(|_| SecretError::Unset { name: name.into(), variable: variable.clone() })?,
    };
    if value.len() < MIN_BYTES { Err(SecretError::Short(name.into())) } else { Ok(value) }
}

/// Finds secrets in the forms in which they usually travel.
#[derive(Default)]
struct Mask {
    search: Option<AhoCorasick>,
    labels: Vec<String>,
}

impl Mask {
    fn new(values: &BTreeMap<String, String>) -> Self {
        let mut forms = Vec::new();
        let mut labels = Vec::new();
        for (name, value) in values {
            for form in forms_of(value) {
                forms.push(form);
                labels.push(format!("[secret {name}]"));
            }
        }
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(forms);
        // Building fails only for patterns beyond 2 GiB.
        Self { search: search.ok().filter(|_| !labels.is_empty()), labels }
    }

    fn text(&self, text: String) -> String {
        match &self.search {
            Some(search) if search.is_match(&text) => search.replace_all(&text, &self.labels),
            _ => text,
        }
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(std::mem::take(text)),
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(map) => {
                let masked = std::mem::take(map).into_iter().map(|(key, mut value)| {
                    self.value(&mut value);
                    (self.text(key), value)
                });
                *map = masked.collect();
            }
            Value::Number(number) => {
                let text = number.to_string();
                let masked = self.text(text.clone());
                if masked != text {
                    *value = masked.into();
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

/// The value itself; escaped for JSON; for URLs; in base64 at each of the three offsets.
fn forms_of(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    let json = Value::from(value).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    forms.push(value.bytes().map(percent).collect());
    // Logs are masked line by line, and a key file has many lines.
    forms.extend(value.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE_BYTES).map(str::to_owned));
    for offset in 0..3 {
        // Cut the characters that also depend on what stands before or after the secret.
        let padded = [&[0; 2][..offset], value.as_bytes()].concat();
        let (skip, keep) = ([0, 2, 3][offset], padded.len() * 8 / 6);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            forms.push(engine.encode(&padded)[skip..keep].to_owned());
        }
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn percent(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).into(),
        _ => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    const SECRET: &str = "s3cr3t \"value\"/+?";

    fn mask() -> Mask {
        Mask::new(&BTreeMap::from([("TOKEN".to_owned(), SECRET.to_owned())]))
    }

    #[test]
    fn every_form_is_masked_and_the_neighbourhood_is_kept() {
        let mask = mask();
        assert_eq!(mask.text(format!("a {SECRET} b")), "a [secret TOKEN] b");
        assert!(mask.text(json!(SECRET).to_string()).contains("[secret TOKEN]"));
        assert!(mask.text("x=s3cr3t%20%22value%22%2F%2B%3F&y".into()).starts_with("x=[secret TOKEN]&y"));
        for before in ["", "a", "ab", "abc"] {
            let encoded = STANDARD.encode(format!("{before}{SECRET}, and more"));
            assert!(mask.text(encoded.clone()).contains("[secret TOKEN]"), "{before:?}: {encoded}");
        }
        assert_eq!(mask.text("s3cr3t".into()), "s3cr3t", "a part is not the secret");
    }

    #[test]
    fn lines_and_numbers_are_masked_too() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
        let values =
            [("KEY", format!("-----BEGIN-----\n{line}\n-----END-----")), ("PIN", "1234567890".into())];
        let mask = Mask::new(&values.map(|(name, value)| (name.to_owned(), value)).into());
        assert_eq!(mask.text(line.into()), "[secret KEY]");
        let mut value = json!({"pin": 1_234_567_890, "n": 5});
        mask.value(&mut value);
        assert_eq!(value, json!({"pin": "[secret PIN]", "n": 5}));
    }

    #[test]
    fn values_are_masked_at_every_depth_and_in_keys() {
        let mut value = json!({"a": [{"b": format!("x{SECRET}")}], SECRET: 1});
        mask().value(&mut value);
        assert_eq!(value, json!({"a": [{"b": "x[secret TOKEN]"}], "[secret TOKEN]": 1}));
    }
}
