//! What a record tells of arguments: their size, their shape, and a keyed hash; with `audit.arguments = "redacted"` also
//! short values.

use serde_json::{Map, Value};

use super::key::Key;
use crate::config::ArgumentsIn;
use crate::secret::Secrets;

/// Bounds of what is shown, so that a caller cannot fill the audit with a few calls.
const MAX_KEY_BYTES: usize = 64;
const MAX_ENTRIES: usize = 64;
const MAX_DEPTH: usize = 6;
const MAX_VALUES: usize = 128;
const MAX_TEXT_BYTES: usize = 256;

/// Values below such keys are never shown: words of the key, in small letters.
const SENSITIVE: [&str; 12] = [
    "auth",
    "authorization",
    "bearer",
    "cookie",
    "credential",
    "credentials",
    "key",
    "passphrase",
    "password",
    "passwd",
    "secret",
    "token",
];

/// The arguments of a call, before the writer has looked at them.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    pub(crate) value: Value,
    /// As the plugin got them; empty where it got none.
    pub(crate) bytes: Vec<u8>,
}

/// What is told of them.
pub(super) struct Told {
    pub(super) bytes: usize,
    pub(super) hmac: [u8; 32],
    pub(super) shown: Value,
}

impl Arguments {
    /// Bytes of memory that wait with it, roughly.
    pub(super) fn weight(&self) -> usize {
        // Those that no plugin got are refused ones; they were not measured yet.
        if self.bytes.is_empty() { weight(&self.value) } else { self.bytes.len() }
    }

    pub(super) fn told(&self, key: &Key, secrets: &Secrets, how: ArgumentsIn) -> Told {
        let written;
        let bytes = match self.bytes.as_slice() {
            [] => {
                written = self.value.to_string().into_bytes();
                &written
            }
            bytes => bytes,
        };
        let mut left = MAX_VALUES;
        let mut shown = match how {
            ArgumentsIn::Shape => shape(&self.value, MAX_DEPTH, &mut left),
            ArgumentsIn::Redacted => {
                // Masked before it is cut: a cut through a secret would leave a part of it.
                let mut value = self.value.clone();
                secrets.mask_value(&mut value);
                redacted(&value, MAX_DEPTH, &mut left)
            }
        };
        secrets.mask_value(&mut shown);
        Told { bytes: bytes.len(), hmac: key.hash(bytes), shown }
    }
}

/// Keys and types.
fn shape(value: &Value, depth: usize, left: &mut usize) -> Value {
    match value {
        Value::Null => "null".into(),
        Value::Bool(_) => "boolean".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(_) | Value::Object(_) if depth == 0 || *left == 0 => "...".into(),
        Value::Array(items) => {
            let mut shapes = Vec::new();
            for item in items.iter().take(MAX_ENTRIES) {
                *left = left.saturating_sub(1);
                let shape = shape(item, depth - 1, left);
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
            shapes.into()
        }
        Value::Object(map) => entries(map, |_, value| {
            *left = left.saturating_sub(1);
            shape(value, depth - 1, left)
        }),
    }
}

/// Keys and short values.
fn redacted(value: &Value, depth: usize, left: &mut usize) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) if text.len() <= MAX_TEXT_BYTES => value.clone(),
        Value::String(text) => {
            format!("{}... ({} bytes)", &text[..text.floor_char_boundary(MAX_TEXT_BYTES)], text.len()).into()
        }
        Value::Array(_) | Value::Object(_) if depth == 0 || *left == 0 => "...".into(),
        Value::Array(items) => {
            let shown = items.iter().take(MAX_ENTRIES.min(*left)).map(|item| {
                *left = left.saturating_sub(1);
                redacted(item, depth - 1, left)
            });
            let mut shown: Vec<Value> = shown.collect();
            if shown.len() < items.len() {
                shown.push("...".into());
            }
            shown.into()
        }
        Value::Object(map) => entries(map, |key, value| {
            *left = left.saturating_sub(1);
            if is_sensitive(key) { "[redacted]".into() } else { redacted(value, depth - 1, left) }
        }),
    }
}

fn entries(map: &Map<String, Value>, mut of: impl FnMut(&str, &Value) -> Value) -> Value {
    let cut = |key: &str| key[..key.floor_char_boundary(MAX_KEY_BYTES)].to_owned();
    let mut shown: Map<String, Value> =
        map.iter().take(MAX_ENTRIES).map(|(key, value)| (cut(key), of(key, value))).collect();
    if map.len() > MAX_ENTRIES {
        shown.insert("...".into(), (map.len() - MAX_ENTRIES).into());
    }
    shown.into()
}

fn is_sensitive(key: &str) -> bool {
    let key = key.to_lowercase();
    let is_one = |word: &str| SENSITIVE.contains(&word);
    key.split(|c: char| !c.is_alphanumeric()).any(is_one)
        || ["apikey", "accesskey", "privatekey"].iter().any(|word| key.replace(['_', '-'], "").contains(word))
}

/// A value's bytes of text, roughly, and what it takes to hold them.
fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 16,
        Value::String(text) => 16 + text.len(),
        Value::Array(items) => items.iter().map(weight).sum::<usize>() + 16,
        Value::Object(map) => {
            map.iter().map(|(key, value)| key.len() + 32 + weight(value)).sum::<usize>() + 16
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(value: Value, how: ArgumentsIn) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::open(&folder.path().join("key")).unwrap();
        let arguments = Arguments { value, bytes: Vec::new() };
        arguments.told(&key, &Secrets::default(), how).shown
    }

    #[test]
    fn a_shape_has_keys_and_types_and_no_values() {
        let value =
            json!({"path": "/etc", "n": 5, "edits": [{"old": "a"}, {"old": "b"}, 1], "x": null, "y": [true]});
        assert_eq!(
            told(value, ArgumentsIn::Shape),
            json!({"path": "string", "n": "number", "edits": [{"old": "string"}, "number"], "x": "null", "y": ["boolean"]})
        );
    }

    #[test]
    fn redacted_values_are_short_and_tell_no_passwords() {
        let long = "a".repeat(1000);
        let value = json!({"path": "/etc", "text": long, "API_TOKEN": "x", "apiKey": "y", "monkey": "z", "argv": ["ls"]});
        let shown = told(value, ArgumentsIn::Redacted);
        assert_eq!(shown["text"], format!("{}... (1000 bytes)", "a".repeat(MAX_TEXT_BYTES)));
        assert_eq!((&shown["API_TOKEN"], &shown["apiKey"]), (&json!("[redacted]"), &json!("[redacted]")));
        assert_eq!((&shown["monkey"], &shown["argv"]), (&json!("z"), &json!(["ls"])));
    }

    #[test]
    fn however_much_is_sent_little_is_shown() {
        let mut deep = json!(1);
        for _ in 0..100 {
            deep = json!([deep]);
        }
        let wide: Map<String, Value> =
            (0..5000).map(|n| ("k".repeat(200) + &n.to_string(), json!([n]))).collect();
        let grid = json!({"a": vec![vec!["x".repeat(5000); 70]; 70]});
        for value in [deep, wide.into(), grid] {
            for how in [ArgumentsIn::Shape, ArgumentsIn::Redacted] {
                let shown = told(value.clone(), how).to_string();
                assert!(shown.len() < 50 << 10, "{how:?}: {}", shown.len());
            }
        }
    }
}
