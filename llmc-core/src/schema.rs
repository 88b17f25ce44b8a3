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

/// The schema of something that is written, such as structured content.
pub fn of_output<T: JsonSchema>() -> Described {
    describe::<T>(SchemaSettings::draft2020_12().for_serialize())
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
/// - formats of numbers, such as `uint32`, which JSON Schema does not know, are gone.
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
        keywords.remove("format");
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::prelude::*;

    use super::*;

    /// Searches files.
    ///
    /// Fast.
    #[arguments]
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

    #[arguments]
    struct Tree {
        children: Vec<Tree>,
    }

    #[output]
    struct Found {
        /// How many.
        count: u32,
        /// The first.
        first: Option<String>,
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
    fn an_output_says_what_it_always_has() {
        let found = of_output::<Found>();
        assert_eq!(found.schema["required"], json!(["count", "first"]));
        assert_eq!(
            found.schema["properties"]["count"],
            json!({"type": "integer", "minimum": 0, "description": "How many."})
        );
    }
}
