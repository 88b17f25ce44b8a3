//! Values between Python and JSON.

use monty_types::MontyObject;
use serde_json::{Map, Number, Value};

/// Deepest nesting of a value that is written as JSON; readers of JSON go no deeper.
const MAX_DEPTH: usize = 120;

/// Keyword arguments as a JSON object.
pub(super) fn arguments(pairs: &[(MontyObject, MontyObject)]) -> Option<String> {
    let mut json = String::from("{");
    for (index, (name, value)) in pairs.iter().enumerate() {
        let MontyObject::String(name) = name else { return None };
        if index > 0 {
            json.push(',');
        }
        write_string(name, &mut json);
        json.push(':');
        write(value, MAX_DEPTH, &mut json)?;
    }
    json.push('}');
    Some(json)
}

/// The JSON of a value, if it has that form.
pub(super) fn to_json(value: &MontyObject) -> Option<String> {
    let mut json = String::new();
    write(value, MAX_DEPTH, &mut json)?;
    Some(json)
}

/// The value of a JSON text; `None` when it is too deep.
pub(super) fn from_json(json: &str) -> Option<MontyObject> {
    Some(object(serde_json::from_str(json).ok()?))
}

fn write(value: &MontyObject, depth: usize, json: &mut String) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match value {
        MontyObject::None => json.push_str("null"),
        MontyObject::Bool(value) => json.push_str(if *value { "true" } else { "false" }),
        MontyObject::Int(value) => json.push_str(&value.to_string()),
        MontyObject::BigInt(value) => json.push_str(&value.to_string()),
        MontyObject::Float(value) => json.push_str(&Number::from_f64(*value)?.to_string()),
        MontyObject::String(text) | MontyObject::Path(text) => write_string(text, json),
        MontyObject::List(items) | MontyObject::Tuple(items) => write_items(items, depth, json)?,
        MontyObject::NamedTuple { values, .. } => write_items(values, depth, json)?,
        MontyObject::Dict(pairs) => {
            json.push('{');
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 {
                    json.push(',');
                }
                write_key(key, json)?;
                json.push(':');
                write(value, depth, json)?;
            }
            json.push('}');
        }
        _ => return None,
    }
    Some(())
}

fn write_items(items: &[MontyObject], depth: usize, json: &mut String) -> Option<()> {
    json.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        write(item, depth, json)?;
    }
    json.push(']');
    Some(())
}

/// Keys as Python's `json` writes them.
fn write_key(key: &MontyObject, json: &mut String) -> Option<()> {
    match key {
        MontyObject::String(text) => write_string(text, json),
        MontyObject::Int(_)
        | MontyObject::BigInt(_)
        | MontyObject::Float(_)
        | MontyObject::Bool(_)
        | MontyObject::None => {
            let mut text = String::new();
            write(key, 1, &mut text)?;
            write_string(&text, json);
        }
        _ => return None,
    }
    Some(())
}

fn write_string(text: &str, json: &mut String) {
    json.push_str(&Value::from(text).to_string());
}

/// The value of JSON.
pub(super) fn object(value: Value) -> MontyObject {
    match value {
        Value::Null => MontyObject::None,
        Value::Bool(value) => MontyObject::Bool(value),
        Value::Number(number) => self::number(&number),
        Value::String(text) => MontyObject::String(text),
        Value::Array(items) => MontyObject::List(items.into_iter().map(object).collect()),
        Value::Object(members) => dict(members),
    }
}

fn dict(members: Map<String, Value>) -> MontyObject {
    let pairs: Vec<_> =
        members.into_iter().map(|(key, value)| (MontyObject::String(key), object(value))).collect();
    MontyObject::dict(pairs)
}

fn number(number: &Number) -> MontyObject {
    if let Some(value) = number.as_i64() {
        return MontyObject::Int(value);
    }
    match (number.as_u64(), number.to_string().parse()) {
        (Some(_), Ok(value)) => MontyObject::BigInt(value),
        _ => MontyObject::Float(number.as_f64().unwrap_or(f64::NAN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_the_way_there_and_back() {
        for json in ["null", "true", "[1,-2.5,\"grüße\\n\"]", "{\"a\":18446744073709551615,\"b\":{\"a\":[]}}"]
        {
            assert_eq!(to_json(&from_json(json).unwrap()).as_deref(), Some(json));
        }
    }

    #[test]
    fn what_is_not_json_has_no_such_form() {
        for value in [
            MontyObject::Float(f64::NAN),
            MontyObject::Bytes(vec![1]),
            MontyObject::Set(vec![MontyObject::Int(1)]),
            MontyObject::dict(vec![(MontyObject::Tuple(Vec::new()), MontyObject::None)]),
        ] {
            assert_eq!(to_json(&value), None, "{value:?}");
        }
        let deep = (0..200).fold(MontyObject::None, |inner, _| MontyObject::List(vec![inner]));
        assert_eq!(to_json(&deep), None);
        assert!(from_json(&format!("{}{}", "[".repeat(500), "]".repeat(500))).is_none());
    }
}
