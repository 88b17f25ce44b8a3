//! What a plugin author implements.

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Annotations, Context, Envelope, ToolError, ToolResult, schema};

/// A tool. The type itself holds the arguments of one call; mark it with `#[arguments]`.
///
/// Its doc comment is the description that a model reads, and those of its fields describe the arguments.
pub trait Tool: DeserializeOwned + JsonSchema {
    /// Name of the tool, `verb_noun`, matching `^[a-z][a-z0-9_]{0,63}$`.
    const NAME: &'static str;

    /// Name for people. When empty, it comes from `NAME`: `read_file` becomes `Read file`.
    const TITLE: &'static str = "";

    /// How the tool behaves. Without a word, the worst is assumed and clients may ask before every call.
    const ANNOTATIONS: Annotations = Annotations::new();

    /// Whether a call usually takes long (seconds and more). A client that can wait for a call as a task then gets one
    /// at once; for others nothing changes.
    const LONG: bool = false;

    /// What the tool answers: a `String`, a type marked with `#[output]`, or an [`Envelope`].
    type Output: Output;

    /// Does the work.
    ///
    /// Several calls may run at a time, each on a thread of its own. Long work asks [`Context::check`] now and
    /// then. A panic becomes an error that names file and line.
    ///
    /// # Errors
    /// Whatever went wrong, in words that help the model to do better.
    fn call(self, ctx: &Context) -> ToolResult<Self::Output>;

    /// The description that a model reads; the doc comment of the type unless overridden.
    fn description() -> String {
        schema::of_input::<Self>().description
    }

    /// The schema of the arguments; that of `Self` unless overridden. The server checks arguments against it before a
    /// call comes here, and clients see it as it is. Must have type `object`.
    fn input_schema() -> Value {
        schema::of_input::<Self>().schema
    }

    /// The schema of the structured content; that of `Output` unless overridden. Must have type `object`.
    fn output_schema() -> Option<Value> {
        Self::Output::schema()
    }
}

/// What a tool can answer.
pub trait Output {
    /// The schema of the structured content, if there is always some.
    fn schema() -> Option<Value>;

    /// Makes the answer.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    fn into_envelope(self) -> ToolResult<Envelope>;

    /// The JSON of the envelope. Override it to pass on bytes that are an envelope already.
    ///
    /// # Errors
    /// As for [`into_envelope`](Self::into_envelope).
    fn into_json(self) -> ToolResult<Vec<u8>>
    where
        Self: Sized,
    {
        Ok(self.into_envelope()?.to_json()?)
    }
}

/// A result with fields. `#[output]` implements it; with `#[output(custom_text)]` write the impl yourself.
pub trait StructuredOutput: Serialize + JsonSchema {
    /// What the model reads. JSON unless overridden; a few words are often better.
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl<T: StructuredOutput> Output for T {
    fn schema() -> Option<Value> {
        Some(schema::of_output::<T>().schema)
    }

    fn into_envelope(self) -> ToolResult<Envelope> {
        Envelope::structured(&self, self.text())
    }
}

/// The structured form of a plain text answer.
#[derive(Serialize, JsonSchema)]
struct Text {
    /// The answer.
    text: String,
}

impl Output for String {
    fn schema() -> Option<Value> {
        Some(schema::of_output::<Text>().schema)
    }

    fn into_envelope(self) -> ToolResult<Envelope> {
        Envelope::structured(&Text { text: self.clone() }, self)
    }
}

/// Full control: images, resources, several blocks. Give a schema with [`Tool::output_schema`] if there is one.
impl Output for Envelope {
    fn schema() -> Option<Value> {
        None
    }

    fn into_envelope(self) -> ToolResult<Envelope> {
        Ok(self)
    }
}

/// The title, or one made of the name: `read_file` becomes `Read file`.
pub(crate) fn title_of(name: &str, title: &str) -> String {
    if !title.is_empty() {
        return title.to_owned();
    }
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Reads arguments. The server has checked them against the schema, so errors are rare; they name the field.
pub(crate) fn parse<T: DeserializeOwned>(name: &str, arguments: &[u8]) -> ToolResult<T> {
    serde_json::from_slice(arguments).or_else(|_| parse_slowly(name, arguments))
}

fn parse_slowly<T: DeserializeOwned>(name: &str, arguments: &[u8]) -> ToolResult<T> {
    let invalid = |text: String| ToolError::invalid(format!("invalid arguments for `{name}`{text}"));
    let value: Value = serde_json::from_slice(arguments).map_err(|error| invalid(format!(": {error}")))?;
    // A unit struct wants `null`; the protocol always sends an object.
    let is_empty = value.as_object().is_some_and(serde_json::Map::is_empty);
    if is_empty && let Ok(unit) = serde_json::from_value(Value::Null) {
        return Ok(unit);
    }
    serde_path_to_error::deserialize(value).map_err(|error| invalid(crate::context::at_field(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;
    use crate::testing::{Harness, item};

    #[output]
    struct Plain {
        count: u32,
    }

    #[output(custom_text)]
    struct Worded {
        count: u32,
        /// Arguments may appear in results.
        asked: CountThings,
    }

    impl StructuredOutput for Worded {
        fn text(&self) -> String {
            format!("{} things", self.count)
        }
    }

    /// Counts things.
    #[arguments(undocumented)]
    #[derive(Clone)]
    struct CountThings {
        count: u32,
    }

    #[tool]
    fn count_things(args: CountThings, _: &Context) -> ToolResult<Worded> {
        Ok(Worded { count: args.count, asked: args.clone() })
    }

    #[test]
    fn a_result_has_data_and_text() {
        let plain = Plain { count: 2 }.into_envelope().unwrap();
        assert_eq!(
            (plain.structured, plain.content),
            (Some(json!({"count": 2})), vec![Content::text("{\"count\":2}")])
        );
        let worded = Harness::new().call::<CountThings>(json!({"count": 3})).unwrap();
        assert_eq!(worded.structured, Some(json!({"count": 3, "asked": {"count": 3}})));
        assert_eq!(worded.all_text(), "3 things");
    }

    #[test]
    fn an_envelope_stays_as_it_is() {
        let envelope = Envelope::text("a").with(Content::image(b"png", "image/png")).as_error();
        assert_eq!(envelope.clone().into_envelope().unwrap(), envelope);
        let json: Envelope = serde_json::from_slice(&envelope.clone().into_json().unwrap()).unwrap();
        assert_eq!(json, envelope);
    }

    #[test]
    fn a_function_gives_its_name_and_assumes_the_worst() {
        let item = item::<CountThings>();
        assert_eq!((item.name.as_str(), item.title.as_str()), ("count_things", "Count things"));
        assert_eq!(item.description, "Counts things.");
        assert_eq!(item.annotations, Annotations::new());
        let output = item.output_schema.unwrap();
        assert_eq!(output["properties"]["count"], json!({"type": "integer"}));
        assert_eq!(output["properties"]["asked"]["type"], "object");
    }
}
