//! Schemas: compiled once when a plugin loads, and explained to the caller when something does not fit.
//!
//! Schemas come from plugins and are hostile input: their size, depth and cost are bounded, a `$ref` reaches neither
//! network nor disk (the validator is built without resolvers), and patterns run on an engine of linear time.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::{CallError, Kind};

/// Largest schema in bytes.
const MAX_SCHEMA_BYTES: usize = 256 << 10;

/// Deepest schema.
const MAX_SCHEMA_DEPTH: usize = 64;

/// Problems that one answer lists; the rest is counted.
const MAX_PROBLEMS: usize = 20;

/// A compiled schema.
#[derive(Debug)]
pub(crate) struct Schema {
    validator: Validator,
    source: Value,
}

impl Schema {
    /// Makes ready what all schemas share, the meta-schemas, which takes over a millisecond the first time.
    pub(crate) fn prepare() {
        // Whether it compiles is of no interest here.
        let _ = Self::compile(&serde_json::json!({"type": "object"}));
    }

    /// Compiles a schema of JSON Schema draft 2020-12.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn compile(source: &Value) -> Result<Self, String> {
        let bytes = source.to_string().len();
        if bytes > MAX_SCHEMA_BYTES {
            return Err(format!("it has {bytes} bytes, the limit is {MAX_SCHEMA_BYTES}"));
        }
        if depth(source) > MAX_SCHEMA_DEPTH {
            return Err(format!("it is more than {MAX_SCHEMA_DEPTH} levels deep"));
        }
        if source.get("type").and_then(Value::as_str) != Some("object") {
            return Err("its root must have \"type\": \"object\"".into());
        }
        super::cost::check(source)?;
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(PatternOptions::regex())
            .build(source)
            .map_err(|error| error.masked().to_string())?;
        Ok(Self { validator, source: source.clone() })
    }

    /// Checks arguments and writes them as the bytes that the plugin gets.
    ///
    /// The bytes are made from what was checked: forwarding the client's own would let a duplicate key mean one
    /// thing to the validator and another to the plugin.
    pub(crate) fn arguments(&self, arguments: &Value) -> Result<Vec<u8>, CallError> {
        self.check(arguments).map_err(|problems| {
            CallError::new(Kind::InvalidArguments, format!("the arguments do not fit: {problems}"))
        })?;
        Ok(arguments.to_string().into_bytes())
    }

    /// Lists every problem with its place (a JSON Pointer, RFC 6901) and what was expected.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let mut problems: Vec<String> = self
            .validator
            .iter_errors(value)
            .take(MAX_PROBLEMS + 1)
            .map(|error| self.explain(&error))
            .collect();
        if problems.len() > MAX_PROBLEMS {
            problems.truncate(MAX_PROBLEMS);
            problems.push("and more".into());
        }
        Err(problems.join("; "))
    }

    /// The value itself is left out: it may be long, or a secret.
    fn explain(&self, error: &ValidationError<'_>) -> String {
        let place = match error.instance_path().as_str() {
            "" => "arguments".to_owned(),
            pointer => format!("`{pointer}`"),
        };
        let hint = match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected } => {
                let known = self.properties_at(error).unwrap_or_default();
                let nearest =
                    unexpected.iter().find_map(|name| nearest(name, known.iter().map(String::as_str)));
                match nearest {
                    Some(name) => format!(" (did you mean `{name}`?)"),
                    None if known.is_empty() => " (there are none)".to_owned(),
                    None => format!(" (known: {})", known.join(", ")),
                }
            }
            _ => String::new(),
        };
        format!("{place}: {}{hint}", error.masked())
    }

    /// Names that the object with an unexpected one may have.
    fn properties_at(&self, error: &ValidationError<'_>) -> Option<Vec<String>> {
        let place = error.schema_path().as_str();
        let object = self.source.pointer(place.rsplit_once('/')?.0)?;
        Some(object.get("properties")?.as_object()?.keys().cloned().collect())
    }
}

/// The name that was probably meant, if one is near enough.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(2).min(4))
        .map(|(_, candidate)| candidate)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Schema {
        Schema::compile(&json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "max_bytes": {"type": "integer", "minimum": 1, "maximum": 1000},
                "window": {"$ref": "#/$defs/Window"},
            },
            "required": ["path"],
            "additionalProperties": false,
            "$defs": {"Window": {"type": "object", "properties": {"first": {"type": "integer"}}, "additionalProperties": false}},
        }))
        .unwrap()
    }

    fn problems(arguments: Value) -> String {
        schema().arguments(&arguments).unwrap_err().message
    }

    #[test]
    fn all_problems_are_listed_with_their_place() {
        let text = problems(json!({"max_bytes": 5000, "pth": "a", "window": {"first": "x"}}));
        assert!(text.contains("`/max_bytes`: value is greater than the maximum of 1000"), "{text}");
        assert!(text.contains("did you mean `path`?"), "{text}");
        assert!(text.contains("\"path\" is a required property"), "{text}");
        assert!(text.contains("`/window/first`"), "{text}");
    }

    #[test]
    fn values_are_not_repeated() {
        assert!(!problems(json!({"path": 1, "max_bytes": "hunter2 hunter2"})).contains("hunter2"));
    }

    #[test]
    fn what_fits_becomes_canonical_bytes() {
        let arguments = json!({"path": "ä", "max_bytes": 3});
        let bytes = schema().arguments(&arguments).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), arguments);
    }

    #[test]
    fn hostile_schemas_are_refused() {
        let reference = |target: &str| json!({"type": "object", "properties": {"a": {"$ref": target}}});
        assert!(Schema::compile(&reference("http://127.0.0.1:1/schema.json")).is_err());
        assert!(Schema::compile(&reference("file:///etc/passwd")).is_err());
        let deep = (0..100).fold(json!({}), |inner, _| json!({"type": "object", "properties": {"a": inner}}));
        assert!(Schema::compile(&deep).unwrap_err().contains("levels deep"));
        let huge = json!({"type": "object", "description": "x".repeat(MAX_SCHEMA_BYTES)});
        assert!(Schema::compile(&huge).unwrap_err().contains("the limit is"));
        assert!(Schema::compile(&json!(true)).is_err());
        let twice = json!({"allOf": [{"$ref": "#/$defs/b"}, {"$ref": "#/$defs/b"}]});
        let mut definitions: serde_json::Map<String, Value> = serde_json::Map::new();
        definitions.insert("l40".into(), json!({}));
        for level in 0..40 {
            let text = twice.to_string().replace("/b", &format!("/l{}", level + 1));
            definitions.insert(format!("l{level}"), serde_json::from_str(&text).unwrap());
        }
        let multiplying = json!({"type": "object", "$ref": "#/$defs/l0", "$defs": definitions});
        assert!(Schema::compile(&multiplying).unwrap_err().contains("multiply"));
    }

    #[test]
    fn a_far_name_is_not_suggested() {
        assert_eq!(nearest("read_fiel", ["read_file", "list_dir"].into_iter()), Some("read_file"));
        assert_eq!(nearest("zzz", ["read_file", "list_dir"].into_iter()), None);
    }
}
