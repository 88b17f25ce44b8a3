//! The result of a successful call: structured content, content blocks, or both.
//!
//! The blocks are those of the Model Context Protocol. The server parses envelopes from plugins that it does not
//! trust, so parsing is total and unknown fields are ignored.
//!
//! Long texts are often both a block and a field of the structured content. Between plugin and server they are written
//! once: [`Envelope::to_json`] leaves out such a first block and names the field, and parsing puts it back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ToolResult;

/// Shortest text, in bytes, that is written once instead of twice.
const MIN_SHARED_BYTES: usize = 256;

/// Everything that a call can answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Received")]
pub struct Envelope {
    /// Data for programs; fits the tool's output schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
    /// Text and media for the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub content: Vec<Content>,
    /// The tool did its work and the outcome is a failure that the model should see.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_error: bool,
    /// Free-form data for the client.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
}

impl Envelope {
    /// An answer of text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: vec![Content::text(text)], ..Self::default() }
    }

    /// An answer of data and its text form.
    ///
    /// # Errors
    /// If `data` cannot be written as JSON, for example because a map has keys that are not strings.
    pub fn structured(data: &impl Serialize, text: impl Into<String>) -> ToolResult<Self> {
        Ok(Self { structured: Some(serde_json::to_value(data)?), ..Self::text(text) })
    }

    /// The form in which it is sent: JSON, with a text that is in it twice written once.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let text_field = self.text_field();
        serde_json::to_vec(&Sent {
            structured: self.structured.as_ref(),
            content: &self.content[usize::from(text_field.is_some())..],
            text_field,
            is_error: self.is_error,
            meta: &self.meta,
        })
    }

    /// Reads what [`Envelope::to_json`] wrote, and tells how many bytes it is when every text is written out.
    ///
    /// # Errors
    /// If it is no envelope.
    pub fn from_json(json: &[u8]) -> serde_json::Result<(Self, usize)> {
        let received: Received = serde_json::from_slice(json)?;
        let bytes = json.len() + received.shared_text().map_or(0, str::len);
        Ok((received.into(), bytes))
    }

    /// The field of the structured content that is the same text as the first block.
    fn text_field(&self) -> Option<&str> {
        let Content::Text { text, annotations: None } = self.content.first()? else { return None };
        let fields = self.structured.as_ref()?.as_object().filter(|_| text.len() >= MIN_SHARED_BYTES)?;
        fields.iter().find_map(|(name, value)| (value.as_str() == Some(text)).then_some(name.as_str()))
    }

    /// Adds a content block.
    #[must_use]
    pub fn with(mut self, content: Content) -> Self {
        self.content.push(content);
        self
    }

    /// Marks the answer as a failure.
    #[must_use]
    pub fn as_error(mut self) -> Self {
        self.is_error = true;
        self
    }

    /// All text blocks, one per line.
    pub fn all_text(&self) -> String {
        let texts = self.content.iter().filter_map(|content| match content {
            Content::Text { text, .. } => Some(text.as_str()),
            _ => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

/// An envelope on its way.
#[derive(Serialize)]
struct Sent<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    structured: Option<&'a Value>,
    /// The field of `structured` whose text is one more block, before those of `content`.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_field: Option<&'a str>,
    #[serde(skip_serializing_if = "<[Content]>::is_empty")]
    content: &'a [Content],
    #[serde(skip_serializing_if = "is_false")]
    is_error: bool,
    #[serde(skip_serializing_if = "Map::is_empty")]
    meta: &'a Map<String, Value>,
}

/// An envelope as it arrives, see [`Sent`].
#[derive(Default, Deserialize)]
#[serde(default)]
struct Received {
    structured: Option<Value>,
    text_field: Option<String>,
    content: Vec<Content>,
    is_error: bool,
    meta: Map<String, Value>,
}

impl Received {
    /// A field that is not there, or no text, is none.
    fn shared_text(&self) -> Option<&str> {
        self.structured.as_ref()?.get(self.text_field.as_ref()?)?.as_str()
    }
}

impl From<Received> for Envelope {
    fn from(mut received: Received) -> Self {
        let block = received.shared_text().map(Content::text);
        received.content.splice(0..0, block);
        let Received { structured, content, is_error, meta, .. } = received;
        Self { structured, content, is_error, meta }
    }
}

/// A content block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub enum Content {
    /// Text for the model.
    Text {
        /// The text.
        text: String,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<ContentAnnotations>,
    },
    /// An image.
    Image {
        /// The image in base64.
        data: String,
        /// Its media type, such as `image/png`.
        mime_type: String,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<ContentAnnotations>,
    },
    /// A sound.
    Audio {
        /// The sound in base64.
        data: String,
        /// Its media type, such as `audio/wav`.
        mime_type: String,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<ContentAnnotations>,
    },
    /// A resource that the client may fetch.
    ResourceLink {
        /// Its address.
        uri: String,
        /// Its name for programs.
        name: String,
        /// Its name for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What it holds.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        /// Its media type.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// Its size in bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<ContentAnnotations>,
    },
    /// A resource, included.
    Resource {
        /// The resource.
        resource: EmbeddedResource,
        /// Whom it is for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        annotations: Option<ContentAnnotations>,
    },
}

impl Content {
    /// A text block.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into(), annotations: None }
    }

    /// An image from its bytes.
    pub fn image(bytes: &[u8], mime_type: impl Into<String>) -> Self {
        Self::Image { data: STANDARD.encode(bytes), mime_type: mime_type.into(), annotations: None }
    }

    /// A sound from its bytes.
    pub fn audio(bytes: &[u8], mime_type: impl Into<String>) -> Self {
        Self::Audio { data: STANDARD.encode(bytes), mime_type: mime_type.into(), annotations: None }
    }

    /// A text resource, included.
    pub fn text_resource(uri: impl Into<String>, mime_type: Option<String>, text: impl Into<String>) -> Self {
        let resource =
            EmbeddedResource { uri: uri.into(), mime_type, text: Some(text.into()), ..Default::default() };
        Self::Resource { resource, annotations: None }
    }

    /// A binary resource, included.
    pub fn blob_resource(uri: impl Into<String>, mime_type: Option<String>, bytes: &[u8]) -> Self {
        let blob = Some(STANDARD.encode(bytes));
        let resource = EmbeddedResource { uri: uri.into(), mime_type, blob, ..Default::default() };
        Self::Resource { resource, annotations: None }
    }
}

/// The resource of a [`Content::Resource`]: either `text` or `blob`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmbeddedResource {
    /// Its address.
    pub uri: String,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// What it holds, if that is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What it holds, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<String>,
}

impl EmbeddedResource {
    /// Text at an address.
    pub fn text(uri: impl Into<String>, mime_type: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            uri: uri.into(),
            mime_type: Some(mime_type.into()),
            text: Some(text.into()),
            ..Self::default()
        }
    }

    /// Bytes at an address.
    pub fn blob(uri: impl Into<String>, mime_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self {
            uri: uri.into(),
            mime_type: Some(mime_type.into()),
            blob: Some(STANDARD.encode(bytes)),
            ..Self::default()
        }
    }
}

/// Whom a content block is for and how much it matters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentAnnotations {
    /// Who should see it; everyone when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<Audience>,
    /// From 0 (optional) to 1 (required).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<f64>,
    /// When it last changed, as in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

/// A reader of a content block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Audience {
    /// The person.
    User,
    /// The model.
    Assistant,
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_block_survives_a_round_trip_in_the_protocol_form() {
        let wire = json!({
            "structured": {"n": 1},
            "content": [
                {"type": "text", "text": "hi", "annotations": {"audience": ["user"], "priority": 0.5}},
                {"type": "image", "data": "AAE=", "mimeType": "image/png"},
                {"type": "audio", "data": "AAE=", "mimeType": "audio/wav"},
                {"type": "resource_link", "uri": "file:///a", "name": "a", "mimeType": "text/plain", "size": 3},
                {"type": "resource", "resource": {"uri": "file:///b", "mimeType": "text/plain", "text": "b"}},
            ],
            "is_error": true,
            "meta": {"k": "v"},
        });
        let envelope: Envelope = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(serde_json::to_value(&envelope).unwrap(), wire);
    }

    #[test]
    fn constructors_encode_bytes() {
        assert_eq!(serde_json::to_value(Content::image(&[0, 1], "image/png")).unwrap()["data"], "AAE=");
        let blob = serde_json::to_value(Content::blob_resource("a:b", None, &[0, 1])).unwrap();
        assert_eq!(blob, json!({"type": "resource", "resource": {"uri": "a:b", "blob": "AAE="}}));
    }

    #[test]
    fn an_empty_envelope_is_an_empty_object_and_unknown_fields_are_ignored() {
        assert_eq!(serde_json::to_value(Envelope::default()).unwrap(), json!({}));
        let parsed: Envelope = serde_json::from_value(json!({"later": 1, "structured": null})).unwrap();
        assert_eq!(parsed, Envelope::default());
    }

    #[test]
    fn a_long_text_is_written_once_and_read_twice() {
        let long = "x".repeat(MIN_SHARED_BYTES);
        let size_in_full = |envelope: &Envelope| serde_json::to_vec(envelope).unwrap().len();
        for text in [long.as_str(), "short"] {
            let envelope = Envelope::structured(&json!({"a": 1, "text": text}), text).unwrap();
            let envelope = envelope.with(Content::text("and more")).as_error();
            let json = envelope.to_json().unwrap();
            assert_eq!(serde_json::from_slice::<Envelope>(&json).unwrap(), envelope);
            let (read, bytes) = Envelope::from_json(&json).unwrap();
            assert!(read == envelope && bytes >= 2 * text.len() && bytes <= size_in_full(&envelope));
            assert_eq!(json.len() < size_in_full(&envelope), text == long);
        }
        let other = Envelope::structured(&json!({"text": long}), format!("{long}y")).unwrap();
        assert_eq!(serde_json::from_slice::<Envelope>(&other.to_json().unwrap()).unwrap(), other);
        let annotated =
            Content::Text { text: long.clone(), annotations: Some(ContentAnnotations::default()) };
        let first = Envelope {
            content: vec![annotated],
            ..Envelope::structured(&json!({"text": long}), "").unwrap()
        };
        assert_eq!(serde_json::from_slice::<Envelope>(&first.to_json().unwrap()).unwrap(), first);
    }

    #[test]
    fn a_field_that_is_not_there_adds_nothing() {
        for structured in [json!(null), json!(7), json!({"n": 7}), json!(["text"])] {
            let sent = json!({"structured": structured, "text_field": "n"});
            assert_eq!(serde_json::from_value::<Envelope>(sent).unwrap().content, []);
        }
    }

    #[test]
    fn hostile_shapes_are_errors() {
        for bad in [json!(7), json!(null), json!({"content": "x"}), json!({"content": [{"type": "x"}]})] {
            assert!(serde_json::from_value::<Envelope>(bad.clone()).is_err(), "{bad}");
        }
    }
}
