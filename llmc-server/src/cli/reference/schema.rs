//! A JSON Schema as rows: a path, a type, a default and a sentence for each value that it describes.

use serde_json::{Map, Value};

use super::super::explain::{described, resolved};

/// Deepest place that is followed; a schema that refers to itself would have none.
const MAX_DEPTH: usize = 8;

/// A value that a schema describes.
pub(super) struct Row {
    /// Keys from the top, with `.` between them; `NAME` for any key, `[]` for the elements of a list.
    pub(super) path: String,
    pub(super) kind: String,
    pub(super) is_required: bool,
    pub(super) default: Option<Value>,
    pub(super) text: String,
    /// It has rows of its own below it.
    pub(super) is_table: bool,
}

/// All values below the top, each before those below it.
pub(super) fn rows(schema: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    below(schema, schema, "", 0, &mut rows);
    rows
}

fn below(root: &Value, at: &Value, path: &str, depth: usize, rows: &mut Vec<Row>) {
    if depth > MAX_DEPTH {
        return;
    }
    let at = resolved(root, at);
    let dot = if path.is_empty() || path.ends_with('.') { "" } else { "." };
    for part in parts(root, at) {
        let required: Vec<&str> =
            part["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, child) in part["properties"].as_object().into_iter().flatten() {
            // Where there are several forms, each needs its own key, and none of them is needed.
            let is_required = required.contains(&name.as_str()) && std::ptr::eq(part, at);
            push(root, child, format!("{path}{dot}{name}"), is_required, depth, rows);
        }
        if part["additionalProperties"].is_object() {
            push(root, &part["additionalProperties"], format!("{path}{dot}NAME"), false, depth, rows);
        }
        // What holds of the elements is a row of its own where they are objects.
        let elements = &part["items"];
        if elements.is_object() && has_keys(root, elements) {
            below(root, elements, &format!("{path}[]"), depth + 1, rows);
        }
    }
}

fn push(root: &Value, child: &Value, path: String, is_required: bool, depth: usize, rows: &mut Vec<Row>) {
    let own = described(child);
    let text = if own.is_empty() { described(resolved(root, child)) } else { own };
    let at = rows.len();
    let default = child.get("default").or_else(|| resolved(root, child).get("default")).cloned();
    rows.push(Row { kind: kind(root, child), path, is_required, default, text, is_table: false });
    let path = rows[at].path.clone();
    below(root, child, &path, depth + 1, rows);
    rows[at].is_table = rows.len() > at + 1;
}

/// A schema, or the forms that it offers.
fn parts<'a>(root: &'a Value, at: &'a Value) -> Vec<&'a Value> {
    let forms = [&at["anyOf"], &at["oneOf"]];
    let forms = forms.into_iter().filter_map(Value::as_array).flatten().map(|form| resolved(root, form));
    std::iter::once(at).chain(forms).collect()
}

fn has_keys(root: &Value, at: &Value) -> bool {
    let has = |part: &&Value| {
        part["properties"].as_object().is_some_and(|known: &Map<_, _>| !known.is_empty())
            || part["additionalProperties"].is_object()
    };
    parts(root, resolved(root, at)).iter().any(has)
}

/// A short name of the type, with the bounds that it has.
fn kind(root: &Value, at: &Value) -> String {
    let at = resolved(root, at);
    if !at["const"].is_null() {
        return at["const"].to_string();
    }
    if let Some(values) = at["enum"].as_array() {
        return listed(values.iter().filter(|value| !value.is_null()).map(Value::to_string));
    }
    for forms in [&at["anyOf"], &at["oneOf"]] {
        if let Some(forms) = forms.as_array() {
            let some = forms.iter().filter(|form| form["type"] != "null");
            return listed(some.map(|form| kind(root, form)));
        }
    }
    let names: Vec<&str> = match &at["type"] {
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
        }
        name => name.as_str().into_iter().collect(),
    };
    match names.as_slice() {
        [] => "anything".to_owned(),
        ["array"] => format!("list of {}", kind(root, &at["items"])),
        ["boolean"] => "true or false".to_owned(),
        ["integer" | "number"] => format!("{}{}", names[0], between(at)),
        ["string"] => match at["maxLength"].as_u64() {
            Some(most) => format!("string of at most {most} characters"),
            None => "string".to_owned(),
        },
        names => listed(names.iter().map(|name| (*name).to_owned())),
    }
}

/// Each word once.
fn listed(words: impl Iterator<Item = String>) -> String {
    let mut seen: Vec<String> = Vec::new();
    for word in words {
        if !seen.contains(&word) {
            seen.push(word);
        }
    }
    seen.join(" or ")
}

/// Bounds that a reader could not guess: that a count is not negative goes without saying.
fn between(at: &Value) -> String {
    let least = at["minimum"].as_f64().filter(|least| *least != 0.0);
    match (least, at["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!(", {least} to {most}"),
        (Some(least), None) => format!(", at least {least}"),
        (None, Some(most)) => format!(", at most {most}"),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_schema_becomes_rows() {
        let schema = json!({
            "type": "object", "required": ["path"],
            "properties": {
                "path": {"type": "string", "description": "Where.\nIt lies."},
                "limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 100, "default": 10},
                "form": {"enum": ["a", "b"]},
                "entries": {"type": "array", "items": {"$ref": "#/$defs/entry"}},
                "source": {"oneOf": [
                    {"type": "object", "properties": {"file": {"type": "string"}}, "required": ["file"]},
                    {"type": "object", "properties": {"env": {"type": "string"}}, "required": ["env"]},
                ]},
                "any": {"additionalProperties": {"type": "boolean"}, "type": "object"},
            },
            "$defs": {"entry": {"type": "object", "properties": {"name": {"type": "string"}}}},
        });
        let rows = rows(&schema);
        let told: Vec<_> =
            rows.iter().map(|row| (row.path.as_str(), row.kind.as_str(), row.is_required)).collect();
        let expected = [
            ("any", "object", false),
            ("any.NAME", "true or false", false),
            ("entries", "list of object", false),
            ("entries[].name", "string", false),
            ("form", "\"a\" or \"b\"", false),
            ("limit", "integer, 1 to 100", false),
            ("path", "string", true),
            ("source", "object", false),
            ("source.file", "string", false),
            ("source.env", "string", false),
        ];
        let mut sorted = told.clone();
        sorted.sort_by_key(|row| expected.iter().position(|known| known == row));
        assert_eq!(sorted, expected);
        let limit = rows.iter().find(|row| row.path == "limit").unwrap();
        assert_eq!((limit.default.as_ref(), limit.is_table), (Some(&json!(10)), false));
        assert!(rows.iter().find(|row| row.path == "entries").unwrap().is_table);
        assert_eq!(rows.iter().find(|row| row.path == "path").unwrap().text, "Where. It lies.");
    }

    #[test]
    fn a_schema_that_refers_to_itself_has_an_end() {
        let schema = json!({
            "properties": {"a": {"$ref": "#/$defs/a"}},
            "$defs": {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}},
        });
        assert_eq!(rows(&schema).len(), MAX_DEPTH + 1);
    }
}
