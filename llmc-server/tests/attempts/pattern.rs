//! What must be seen. A key is a path with dots (`error.type`). A table is a JSON Schema for what is there, a list names
//! all that it may be, and anything else is what it must be.

use serde_json::{Map, Value, json};

/// What differs from what is expected.
pub(crate) fn differences(expected: &Map<String, Value>, seen: &Value) -> Vec<String> {
    expected.iter().filter_map(|(key, pattern)| difference(key, pattern, lookup(seen, key))).collect()
}

fn difference(key: &str, pattern: &Value, seen: &Value) -> Option<String> {
    let schema = match pattern {
        Value::Object(words) => typed(words),
        Value::Array(choices) => json!({"enum": choices}),
        value => json!({"const": value}),
    };
    let validator = jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("`{key}`: {error}"));
    (!validator.is_valid(seen)).then(|| format!("`{key}` is {}, expected {pattern}", cut(&seen.to_string())))
}

/// A schema says nothing about values of other types (`minItems` is true of a number), and would accept them.
fn typed(words: &Map<String, Value>) -> Value {
    const KINDS: [(&str, &[&str]); 4] = [
        ("array", &["items", "prefixItems", "minItems", "maxItems", "contains"]),
        ("object", &["properties", "additionalProperties", "minProperties", "maxProperties"]),
        ("string", &["pattern", "minLength", "maxLength"]),
        ("number", &["minimum", "maximum"]),
    ];
    let mut schema = words.clone();
    let kind = KINDS.iter().find(|(_, own)| own.iter().any(|word| words.contains_key(*word)));
    if let Some((kind, _)) = kind {
        schema.entry("type").or_insert_with(|| (*kind).into());
    }
    if let Some(items) = schema.get("prefixItems").and_then(Value::as_array).map(Vec::len) {
        schema.entry("minItems").or_insert_with(|| items.into());
    }
    for (word, inner) in &mut schema {
        match inner {
            // What stands there is data and no schema.
            _ if word == "const" || word == "enum" => {}
            Value::Object(names) if word == "properties" => names.values_mut().for_each(retype),
            Value::Object(_) if word != "not" => retype(inner),
            Value::Array(list) => list.iter_mut().for_each(retype),
            _ => {}
        }
    }
    Value::Object(schema)
}

fn retype(value: &mut Value) {
    if let Value::Object(words) = value {
        *value = typed(words);
    }
}

pub(crate) fn lookup<'a>(seen: &'a Value, key: &str) -> &'a Value {
    key.split('.').fold(seen, |value, part| &value[part])
}

/// A text for a table.
pub(crate) fn cut(text: &str) -> String {
    const MOST: usize = 600;
    if text.len() <= MOST { text.into() } else { format!("{}…", &text[..text.floor_char_boundary(MOST)]) }
}

/// The parts of what was seen that a row speaks of, for the table.
pub(crate) fn excerpt(expected: &Map<String, Value>, seen: &Value) -> Value {
    expected.keys().map(|key| (key.clone(), shortened(lookup(seen, key)))).collect()
}

fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) => cut(text).into(),
        Value::Array(items) => items.iter().map(shortened).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), shortened(field))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn patterns_tell_what_differs() {
    let seen = json!({"result": "EPERM", "error": {"type": "X"}, "list": [1, 2]});
    let check = |expected: Value| differences(expected.as_object().unwrap(), &seen).len();
    assert_eq!(check(json!({"result": "EPERM", "error.type": ["Y", "X"], "list": {"minItems": 2}})), 0);
    assert_eq!(check(json!({"result": "OK", "error.type": ["Y"], "list": {"maxItems": 1}, "none": 1})), 4);
    assert_eq!(check(json!({"none": null})), 0);
    // What is not there is neither short nor small.
    let absent =
        [json!({"maxItems": 1}), json!({"maxLength": 1}), json!({"minimum": 0}), json!({"items": {}})];
    assert!(absent.iter().all(|pattern| check(json!({"none": pattern})) == 1));
    assert_eq!(check(json!({"list": {"prefixItems": [{}, {"maximum": 2}, {}]}})), 1);
}
