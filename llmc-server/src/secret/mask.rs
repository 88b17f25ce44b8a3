//! Finds secrets in the forms in which they usually travel.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;
use zeroize::Zeroizing;

/// Shorter lines of a secret, such as the first of a key file, are ordinary text.
const MIN_LINE_BYTES: usize = 32;

/// The beginning or the end of a secret is masked from this length on, and from half of the secret on: what was cut before
/// it came here leaves such parts. Shorter ones would let a caller guess a secret piece by piece, by looking which of his
/// own texts are masked.
const MIN_PART_BYTES: usize = 12;

/// Replaces secrets.
#[derive(Default)]
pub(super) struct Mask {
    search: Option<AhoCorasick>,
    labels: Vec<String>,
    forms: Vec<Zeroizing<String>>,
    /// The shortest beginning of each form that is masked, and the shortest end.
    heads: Option<AhoCorasick>,
    tails: Option<AhoCorasick>,
    /// Forms without their backslashes, for texts that are escaped any number of times, and their labels.
    bare: Option<AhoCorasick>,
    bare_labels: Vec<String>,
}

/// A piece of a text that is a part of a form.
struct Part {
    from: usize,
    until: usize,
    form: usize,
}

impl Mask {
    pub(super) fn new(values: &BTreeMap<String, Zeroizing<String>>) -> Self {
        let (mut forms, mut labels) = (Vec::new(), Vec::new());
        for (name, value) in values {
            for form in forms_of(value) {
                forms.push(Zeroizing::new(form));
                labels.push(format!("[secret {name}]"));
            }
        }
        if forms.is_empty() {
            return Self::default();
        }
        let (mut bare, mut bare_labels) = (Vec::new(), Vec::new());
        for (name, value) in values {
            for form in bare_forms(value) {
                bare.push(form);
                bare_labels.push(format!("[secret {name}]"));
            }
        }
        let bare = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(bare);
        let search = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts(&forms));
        let heads = AhoCorasick::new(forms.iter().map(|form| &form.as_bytes()[..part_bytes(form)]));
        let tails =
            AhoCorasick::new(forms.iter().map(|form| &form.as_bytes()[form.len() - part_bytes(form)..]));
        // Building fails only for patterns beyond 2 GiB.
        Self {
            search: search.ok(),
            labels,
            heads: heads.ok(),
            tails: tails.ok(),
            bare: bare.ok(),
            bare_labels,
            forms,
        }
    }

    pub(super) fn text(&self, text: String) -> String {
        let text = match &self.search {
            Some(search) if search.is_match(&text) => search.replace_all(&text, &self.labels),
            Some(_) => text,
            None => return text,
        };
        self.without_parts(self.without_escaped(text))
    }

    /// Masks what was escaped, by whatever program, however often.
    fn without_escaped(&self, text: String) -> String {
        let Some(bare) = self.bare.as_ref().filter(|_| text.contains('\\')) else { return text };
        let bytes = text.as_bytes();
        let places: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != b'\\').collect();
        let stripped: Vec<u8> = places.iter().map(|at| bytes[*at]).collect();
        let (mut masked, mut at) = (String::new(), 0);
        for found in bare.find_iter(&stripped) {
            let (first, last) = (places[found.start()], places[found.end() - 1]);
            let escapes = bytes[at..first].iter().rev().take_while(|byte| **byte == b'\\').count();
            masked.push_str(&text[at..first - escapes]);
            masked.push_str(&self.bare_labels[found.pattern().as_usize()]);
            at = last + 1;
        }
        masked.push_str(&text[at..]);
        masked
    }

    /// Masks what is left of a secret that was cut.
    fn without_parts(&self, text: String) -> String {
        let mut parts = self.parts(&text);
        if parts.is_empty() {
            return text;
        }
        parts.sort_unstable_by_key(|part| (part.from, std::cmp::Reverse(part.until)));
        let (mut masked, mut at) = (String::with_capacity(text.len()), 0);
        for Part { from, until, form } in parts {
            if from >= at {
                masked.push_str(&text[at..from]);
                masked.push_str(&self.labels[form]);
            }
            at = at.max(until);
        }
        masked.push_str(&text[at..]);
        masked
    }

    /// Where the text has the beginning or the end of a form, as much of it as there is.
    fn parts(&self, text: &str) -> Vec<Part> {
        let (Some(heads), Some(tails)) = (&self.heads, &self.tails) else { return Vec::new() };
        let bytes = text.as_bytes();
        let heads = heads.find_overlapping_iter(text).map(|found| {
            let (from, form) = (found.start(), found.pattern().as_usize());
            let length =
                bytes[from..].iter().zip(self.forms[form].as_bytes()).take_while(|(one, other)| one == other);
            Part { from, until: text.floor_char_boundary(from + length.count()), form }
        });
        let tails = tails.find_overlapping_iter(text).map(|found| {
            let (until, form) = (found.end(), found.pattern().as_usize());
            let (before, own) = (bytes[..until].iter().rev(), self.forms[form].as_bytes().iter().rev());
            let length = before.zip(own).take_while(|(one, other)| one == other).count();
            Part { from: text.ceil_char_boundary(until - length), until, form }
        });
        heads.chain(tails).collect()
    }

    pub(super) fn value(&self, value: &mut Value) {
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

fn texts(forms: &[Zeroizing<String>]) -> impl Iterator<Item = &str> {
    forms.iter().map(|form| form.as_str())
}

/// Bytes of the shortest part of a form that is masked.
fn part_bytes(form: &str) -> usize {
    form.len().div_ceil(2).max(MIN_PART_BYTES).min(form.len())
}

/// The value itself; escaped for JSON; for URLs; in hexadecimal; in base64 at each of the three offsets.
fn forms_of(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    forms.push(json_escaped(value));
    for kept in ["-_.~", "-_.!~*'()", "-_.~/", "-_.~:/?#[]@!$&'()*+,;="] {
        let upper = percent(value, kept);
        forms.push(upper.replace("%20", "+"));
        forms.push(lower_percent(&upper));
        forms.push(upper);
    }
    forms.push(hex(value, |byte| format!("{byte:02x}")));
    forms.push(hex(value, |byte| format!("{byte:02X}")));
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

/// What is left of the escaped value without backslashes: as JSON needs it, as some writers escape beyond that (all that is
/// not ASCII, and what means something in HTML), and the value itself.
fn bare_forms(value: &str) -> Vec<String> {
    let json = json_escaped(value);
    let ascii = ascii_only(&json);
    let html = ascii.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    let mut forms = [value.to_owned(), html, ascii, json].map(|form| form.replace('\\', "")).to_vec();
    // Of a secret that is hardly more than backslashes too little is left to tell it by.
    forms.retain(|form| form.len() >= super::MIN_BYTES);
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn json_escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// As writers of JSON do that keep to ASCII.
fn ascii_only(text: &str) -> String {
    let mut units = [0; 2];
    text.chars()
        .map(|c| match c {
            c if c.is_ascii() => c.to_string(),
            c => c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect(),
        })
        .collect()
}

/// Percent-encodes all but letters, digits and `kept`.
fn percent(text: &str, kept: &str) -> String {
    text.bytes()
        .map(|byte| match char::from(byte) {
            c if c.is_ascii_alphanumeric() || kept.contains(c) && c.is_ascii() => c.to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// The same with small hexadecimal digits.
fn lower_percent(encoded: &str) -> String {
    let mut after = 0;
    encoded
        .chars()
        .map(|c| {
            let is_digit = after > 0;
            after = if c == '%' { 2 } else { i32::max(after - 1, 0) };
            if is_digit { c.to_ascii_lowercase() } else { c }
        })
        .collect()
}

fn hex(text: &str, digit: fn(u8) -> String) -> String {
    text.bytes().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::*;

    const SECRET: &str = "s3cr3t \"value\"/+?";

    fn mask_of(values: &[(&str, &str)]) -> Mask {
        let of = |(name, value): &(&str, &str)| ((*name).to_owned(), Zeroizing::new((*value).to_owned()));
        Mask::new(&values.iter().map(of).collect())
    }

    fn mask() -> Mask {
        mask_of(&[("TOKEN", SECRET)])
    }

    #[test]
    fn every_form_is_masked_and_the_neighbourhood_is_kept() {
        let mask = mask();
        assert_eq!(mask.text(format!("a {SECRET} b")), "a [secret TOKEN] b");
        assert!(mask.text(json!(SECRET).to_string()).contains("[secret TOKEN]"));
        for encoded in [
            "s3cr3t%20%22value%22%2F%2B%3F",
            "s3cr3t%20%22value%22%2f%2b%3f",
            "s3cr3t+%22value%22%2F%2B%3F",
            "s3cr3t%20%22value%22/+?",
            "7333637233742022",
        ] {
            let encoded = if encoded.starts_with('7') {
                hex(SECRET, |byte| format!("{byte:02x}"))
            } else {
                encoded.into()
            };
            assert_eq!(mask.text(format!("x={encoded}&y")), "x=[secret TOKEN]&y", "{encoded}");
        }
        for before in ["", "a", "ab", "abc"] {
            let encoded = STANDARD.encode(format!("{before}{SECRET}, and more"));
            assert!(mask.text(encoded.clone()).contains("[secret TOKEN]"), "{before:?}: {encoded}");
        }
        let mut escaped = SECRET.to_owned();
        for depth in 1..6 {
            escaped = json!(escaped).to_string();
            assert!(mask.text(escaped.clone()).contains("[secret TOKEN]"), "{depth}: {escaped}");
        }
        assert_eq!(mask.text("s3cr3t".into()), "s3cr3t", "a part is not the secret");
        assert_eq!(mask.text(r"C:\dir\s3cr3t".into()), r"C:\dir\s3cr3t");
    }

    #[test]
    fn other_alphabets_are_masked_as_writers_of_json_write_them() {
        let mask = mask_of(&[("TOKEN", "schlüssel/<1>&😀")]);
        for text in [
            r"schl\u00fcssel/<1>&\ud83d\ude00",
            r"schl\u00fcssel/\u003c1\u003e\u0026\ud83d\ude00",
            r"schlüssel\/<1>&😀",
            "schl%C3%BCssel%2F%3C1%3E%26%F0%9F%98%80",
        ] {
            assert_eq!(mask.text(format!("\"{text}\"")), "\"[secret TOKEN]\"", "{text}");
        }
    }

    #[test]
    fn what_a_cut_left_is_masked() {
        let secret = "AKIA0123456789abcdefghij";
        let mask = mask_of(&[("KEY", secret)]);
        for part in [12, 17, 23] {
            assert_eq!(mask.text(format!("it is {}", &secret[..part])), "it is [secret KEY]", "{part}");
            assert_eq!(
                mask.text(format!("{} it was", &secret[24 - part..])),
                "[secret KEY] it was",
                "{part}"
            );
            assert_eq!(mask.text(secret[24 - part..].into()), "[secret KEY]", "{part}");
        }
        // Less would be a way to guess it.
        assert_eq!(mask.text(secret[..11].into()), &secret[..11]);
        // Tools say what they left out in the middle of a text.
        let shown = mask.text(format!("{}\n... 12 bytes left out ...\n{}", &secret[..20], &secret[12..]));
        assert_eq!(shown, "[secret KEY]\n... 12 bytes left out ...\n[secret KEY]");
        let whole = format!("{secret}{secret}");
        for at in 0..whole.len() {
            let (one, other) = whole.split_at(at);
            let shown = mask.text(one.into()) + &mask.text(other.into());
            assert!(!shown.contains(secret), "cut at {at}: {shown}");
        }
    }

    #[test]
    fn lines_and_numbers_are_masked_too() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
        let key = format!("-----BEGIN-----\n{line}\n-----END-----");
        let mask = mask_of(&[("KEY", &key), ("PIN", "1234567890")]);
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
