//! JSON Schemas (draft 2020-12) from Rust types, in the form that clients accept.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// A schema and the description that stood at its top.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// The schema, normalised.
    pub schema: Value,
    /// The doc comment of the type.
    pub description: String,
}

/// The schema of something that is read, such as arguments.
pub fn of_input<T: JsonSchema>() -> Described {
    describe::<T>(SchemaSettings::draft2020_12().for_deserialize())
}

/// The schema of something that is written, such as structured content: names and types only.
///
/// Every client sends all schemas to its model with every conversation, so what the fields mean has to be said by
/// their names.
pub fn of_output<T: JsonSchema>() -> Described {
    let mut described = describe::<T>(SchemaSettings::draft2020_12().for_serialize());
    shorten(&mut described.schema);
    described
}

fn describe<T: JsonSchema>(settings: SchemaSettings) -> Described {
    // Several clients do not follow `$ref`; only recursive types keep theirs.
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    normalise(schema.to_value())
}

/// Rewrites a root schema:
/// - the root is an object, also for a type without fields;
/// - `$schema`, `title` and `description` of the root are gone (an item has its own);
/// - `true` as a schema, which some clients refuse, is `{}`;
/// - formats of numbers, such as `uint32`, which JSON Schema does not know, are gone;
/// - so is what goes without saying: that an unsigned number is not negative, and a default of `false`, 0 or nothing.
fn normalise(schema: Value) -> Described {
    let mut root = match schema {
        Value::Object(root) => root,
        _ => Map::new(),
    };
    root.remove("$schema");
    root.remove("title");
    let description = match root.remove("description") {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    // A unit struct is `null` to schemars; its arguments are `{}` all the same.
    if root.get("type").is_some_and(|kind| kind == "null") {
        root = Map::from_iter([("additionalProperties".to_owned(), json!(false))]);
    }
    root.insert("type".to_owned(), json!("object"));
    if root.get("additionalProperties").is_some_and(|more| more == &json!(false)) && !has_branches(&root) {
        root.entry("properties").or_insert_with(|| json!({}));
    }
    let mut schema = Value::Object(root);
    visit(&mut schema);
    Described { schema, description }
}

fn has_branches(root: &Map<String, Value>) -> bool {
    ["oneOf", "anyOf", "allOf", "$ref"].iter().any(|keyword| root.contains_key(*keyword))
}

/// Simplifies a schema and all schemas inside it.
fn visit(schema: &mut Value) {
    if schema == &json!(true) {
        *schema = json!({});
    }
    let Value::Object(keywords) = schema else { return };
    let is_number = |kind: &Value| {
        let is = |kind: &Value| kind == "integer" || kind == "number";
        is(kind) || kind.as_array().is_some_and(|kinds| kinds.iter().any(is))
    };
    if keywords.get("type").is_some_and(is_number) {
        let format = keywords.remove("format");
        let is_unsigned =
            format.as_ref().and_then(Value::as_str).is_some_and(|name| name.starts_with("uint"));
        if is_unsigned && keywords.get("minimum").is_some_and(|least| least == &json!(0)) {
            keywords.remove("minimum");
        }
    }
    if keywords.get("default").is_some_and(is_nothing) {
        keywords.remove("default");
    }
    for (keyword, value) in keywords {
        match (keyword.as_str(), value) {
            // Maps from names to schemas.
            ("properties" | "patternProperties" | "$defs" | "dependentSchemas", Value::Object(schemas)) => {
                schemas.values_mut().for_each(visit);
            }
            // Lists of schemas.
            ("oneOf" | "anyOf" | "allOf" | "prefixItems", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(visit);
            }
            // Schemas. `true` and `false` are customary here and mean what they say.
            ("additionalProperties" | "unevaluatedProperties", Value::Bool(_)) => {}
            (
                "additionalProperties"
                | "unevaluatedProperties"
                | "items"
                | "contains"
                | "propertyNames"
                | "not"
                | "if"
                | "then"
                | "else",
                schema,
            ) => visit(schema),
            _ => {}
        }
    }
}

/// Whether a value is what an absent field would mean anyway.
fn is_nothing(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || [json!(0), json!(""), json!([])].contains(value)
}

/// Leaves out what only explains: descriptions, which fields are always there, and that one which may be missing may
/// be `null` instead.
fn shorten(schema: &mut Value) {
    match schema {
        Value::Object(keywords) => {
            forbid_null_where_missing(keywords);
            // Fields may be called like keywords; their schemas are objects.
            if keywords.get("required").is_some_and(Value::is_array) {
                keywords.remove("required");
            }
            if keywords.get("description").is_some_and(Value::is_string) {
                keywords.remove("description");
            }
            for value in keywords.values_mut() {
                shorten(value);
            }
            merge_constants(keywords);
        }
        Value::Array(values) => values.iter_mut().for_each(shorten),
        _ => {}
    }
}

/// A field is left out for `None` (`skip_serializing_if`) or is `null`, and not now this, now that.
fn forbid_null_where_missing(keywords: &mut Map<String, Value>) {
    let required = keywords.get("required").cloned().unwrap_or_default();
    let is_required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|it| it == name));
    let Some(Value::Object(fields)) = keywords.get_mut("properties") else { return };
    for (name, field) in fields {
        let Some(Value::Array(kinds)) = field.get_mut("type") else { continue };
        if !is_required(name) && kinds.len() == 2 && kinds[1] == "null" {
            field["type"] = kinds[0].take();
            if let Some(Value::Array(values)) = field.get_mut("enum") {
                values.retain(|value| !value.is_null());
            }
        }
    }
}

/// Several constants of one type are an `enum`.
fn merge_constants(keywords: &mut Map<String, Value>) {
    let constant = |schema: &Value| match schema.as_object() {
        Some(schema) if schema.len() == 2 && schema.get("type")? == "string" => schema.get("const").cloned(),
        _ => None,
    };
    let Some(branches) = keywords.get("oneOf").and_then(Value::as_array) else { return };
    if let Some(constants) = branches.iter().map(constant).collect::<Option<Vec<Value>>>() {
        keywords.remove("oneOf");
        keywords.insert("type".to_owned(), json!("string"));
        keywords.insert("enum".to_owned(), Value::Array(constants));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::prelude::*;

    use super::*;

    /// Searches files.
    ///
    /// Fast.
    #[arguments(undocumented)]
    struct Search {
        /// What to look for.
        pattern: String,
        /// Most matches to answer.
        #[serde(default = "Search::default_max")]
        #[schemars(range(min = 1, max = 1000))]
        max: u32,
        /// How to match.
        #[serde(default)]
        mode: Mode,
        /// Where to look.
        place: Option<Place>,
        /// Anything at all.
        extra: Option<Value>,
        /// Everything at all.
        all: Vec<Value>,
        /// By name.
        by_name: BTreeMap<String, Value>,
        #[serde(default)]
        offset: u32,
        #[serde(default)]
        hidden: bool,
        #[serde(default)]
        globs: Vec<String>,
        #[schemars(range(min = 0))]
        signed: Option<i64>,
    }

    impl Search {
        fn default_max() -> u32 {
            100
        }
    }

    /// A way to match.
    #[arguments]
    #[serde(rename_all = "snake_case")]
    #[derive(Default)]
    enum Mode {
        /// Letter by letter.
        #[default]
        Exact,
        /// As a regular expression.
        Regex,
    }

    /// A place.
    #[arguments]
    struct Place {
        /// Name of the root.
        root: String,
    }

    #[arguments]
    struct Nothing;

    #[arguments]
    struct NoFields {}

    #[arguments(undocumented)]
    struct Tree {
        children: Vec<Tree>,
    }

    #[output]
    struct Found {
        /// How many.
        count: u32,
        /// The first.
        first: Option<String>,
        /// How it was found.
        way: Way,
        /// A field may be called like a keyword.
        description: String,
        /// So may another.
        required: String,
        /// Left out, or there.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        other_way: Option<Plain>,
    }

    #[output]
    #[serde(rename_all = "lowercase")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Plain {
        One,
        Two,
    }

    #[output]
    #[serde(rename_all = "lowercase")]
    #[expect(dead_code, reason = "only its schema is looked at")]
    enum Way {
        /// Letter by letter.
        Exact,
        /// As a regular expression.
        Regex,
    }

    #[test]
    fn everything_an_author_says_is_in_the_schema() {
        let search = of_input::<Search>();
        assert_eq!(search.description, "Searches files.\n\nFast.");
        assert_eq!(
            search.schema,
            json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["pattern", "all", "by_name"],
                "properties": {
                    "pattern": {"type": "string", "description": "What to look for."},
                    "max": {
                        "type": "integer", "minimum": 1, "maximum": 1000, "default": 100,
                        "description": "Most matches to answer.",
                    },
                    "mode": {
                        "description": "How to match.", "default": "exact",
                        "oneOf": [
                            {"type": "string", "const": "exact", "description": "Letter by letter."},
                            {"type": "string", "const": "regex", "description": "As a regular expression."},
                        ],
                    },
                    "place": {
                        "description": "Where to look.",
                        "type": ["object", "null"], "additionalProperties": false, "required": ["root"],
                        "properties": {"root": {"type": "string", "description": "Name of the root."}},
                    },
                    "extra": {"description": "Anything at all."},
                    "all": {"type": "array", "items": {}, "description": "Everything at all."},
                    "by_name": {"type": "object", "additionalProperties": true, "description": "By name."},
                    "offset": {"type": "integer"},
                    "hidden": {"type": "boolean"},
                    "globs": {"type": "array", "items": {"type": "string"}},
                    "signed": {"type": ["integer", "null"], "minimum": 0},
                },
            })
        );
    }

    #[test]
    fn a_tool_without_arguments_takes_an_empty_object() {
        let empty = json!({"type": "object", "properties": {}, "additionalProperties": false});
        assert_eq!(of_input::<Nothing>().schema, empty);
        assert_eq!(of_input::<NoFields>().schema, empty);
    }

    #[test]
    fn true_is_never_a_schema() {
        let mut schema = json!({"properties": {"a": true, "b": {"anyOf": [true]}}, "items": true});
        visit(&mut schema);
        assert_eq!(schema, json!({"properties": {"a": {}, "b": {"anyOf": [{}]}}, "items": {}}));
    }

    #[test]
    fn a_recursive_type_refers_to_itself() {
        let schema = of_input::<Tree>().schema;
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["properties"]["children"]["items"], json!({"$ref": "#"}));
    }

    #[test]
    fn an_output_has_names_and_types_only() {
        let found = of_output::<Found>();
        assert_eq!(
            found.schema,
            json!({
                "type": "object",
                "properties": {
                    "count": {"type": "integer"},
                    "first": {"type": ["string", "null"]},
                    "way": {"type": "string", "enum": ["exact", "regex"]},
                    "description": {"type": "string"},
                    "required": {"type": "string"},
                    "note": {"type": "string"},
                    "other_way": {"type": "string", "enum": ["one", "two"]},
                },
            })
        );
    }
}
