//! Variables in the texts of a script.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Query, Scenario};
use crate::limits::MAX_TEMPLATE_BYTES;

/// Values by name.
#[derive(Clone, Debug, Default)]
pub struct Variables(BTreeMap<String, Value>);

impl Variables {
    /// The queries of a scenario.
    pub fn of(scenario: &Scenario) -> Self {
        let value = |query: &Query| match query {
            Query::One(text) => Value::from(text.as_str()),
            Query::Many(texts) => Value::from(texts.as_slice()),
        };
        Self(scenario.queries.iter().map(|(name, query)| (name.clone(), value(query))).collect())
    }

    /// Sets one.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// `name`, or `name[0]` of a list.
    fn get(&self, name: &str) -> Result<&Value, String> {
        let unknown = || {
            let known: Vec<_> = self.0.keys().map(|name| format!("`{name}`")).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            format!("there is no variable `{}` (there are: {known})", name.escape_debug())
        };
        let Some((list, place)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) else {
            return self.0.get(name).ok_or_else(unknown);
        };
        let place = place.parse::<usize>().map_err(|_| unknown())?;
        self.0.get(list).and_then(|list| list.get(place)).ok_or_else(unknown)
    }
}

/// Puts values in the places of all `${name}` in a value. A text that is one variable becomes its value, whatever type
/// that has; `$${` stands for `${`.
///
/// # Errors
/// If there is no such variable, it has no form as text, or the text becomes too long.
pub fn fill(value: &Value, variables: &Variables) -> Result<Value, String> {
    match value {
        Value::String(text) => fill_text(text, variables),
        Value::Array(items) => items.iter().map(|item| fill(item, variables)).collect(),
        Value::Object(map) => fill_object(map, variables).map(Value::Object),
        other => Ok(other.clone()),
    }
}

/// The same for the values of an object.
///
/// # Errors
/// As for [`fill`].
pub fn fill_object(map: &Map<String, Value>, variables: &Variables) -> Result<Map<String, Value>, String> {
    map.iter().map(|(key, value)| Ok((key.clone(), fill(value, variables)?))).collect()
}

fn fill_text(text: &str, variables: &Variables) -> Result<Value, String> {
    let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    if let Some(name) = whole.filter(|name| !name.contains('}')) {
        return variables.get(name).cloned();
    }
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            filled.push_str(&rest[..at - 1]);
            filled.push_str("${");
            rest = &rest[at + 2..];
            continue;
        }
        filled.push_str(&rest[..at]);
        let (name, after) = rest[at + 2..]
            .split_once('}')
            .ok_or_else(|| format!("`${{` has no `}}` in `{}`", text.escape_debug()))?;
        filled.push_str(&as_text(variables.get(name)?, name)?);
        rest = after;
        if filled.len() > MAX_TEMPLATE_BYTES {
            return Err(format!("a text with variables becomes longer than {MAX_TEMPLATE_BYTES} bytes"));
        }
    }
    filled.push_str(rest);
    Ok(Value::String(filled))
}

fn as_text(value: &Value, name: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(truth) => Ok(truth.to_string()),
        _ => {
            Err(format!("`${{{name}}}` is no text, number or truth value, so it cannot stand inside a text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn variables() -> Variables {
        let mut variables = Variables::default();
        variables.set("base", json!("a b"));
        variables.set("variants", json!(["b a", "a  b"]));
        variables.set("i", json!(3));
        variables
    }

    #[test]
    fn variables_take_their_places() {
        let filled = |value: Value| fill(&value, &variables()).unwrap();
        assert_eq!(
            filled(json!({"q": "${base}", "n": ["${i}", 1, true]})),
            json!({"q": "a b", "n": [3, 1, true]})
        );
        assert_eq!(filled(json!("${variants}")), json!(["b a", "a  b"]));
        assert_eq!(filled(json!("${variants[1]}!")), json!("a  b!"));
        assert_eq!(filled(json!("file${i}.md: ${base}")), json!("file3.md: a b"));
        assert_eq!(filled(json!("$${base} $5 ${i}")), json!("${base} $5 3"));
    }

    #[test]
    fn what_is_unknown_is_told() {
        let error = |text: &str| fill(&json!(text), &variables()).unwrap_err();
        assert_eq!(error("${none}"), "there is no variable `none` (there are: `base`, `i`, `variants`)");
        assert!(error("x ${variants}").contains("no text"));
        assert!(error("x ${base").contains("has no `}`"));
        assert!(error("${variants[7]}").contains("no variable"));
    }

    #[test]
    fn a_value_is_never_a_template() {
        let mut variables = Variables::default();
        variables.set("hostile", json!("${base} ${hostile}"));
        assert_eq!(fill(&json!("${hostile} "), &variables).unwrap(), json!("${base} ${hostile} "));
    }
}
