//! Asking the client, or the person in front of it.
//!
//! Newer clients are asked by ending the call, which is made again, from its start, with the answers. A tool does not
//! see the difference as long as it asks before it changes anything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{ToolError, ToolResult};

/// One question: a request of the Model Context Protocol that servers may make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// One of [`ELICIT`], [`SAMPLE`] and [`ROOTS`].
    pub method: String,
    /// As in the protocol.
    #[serde(default)]
    pub params: Value,
}

/// Asks the person to fill in a form.
pub const ELICIT: &str = "elicitation/create";
/// Asks the client's model.
pub const SAMPLE: &str = "sampling/createMessage";
/// Asks for the folders that the client works in.
pub const ROOTS: &str = "roots/list";

/// What a client can be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Client {
    /// Its person can be asked to fill in forms.
    pub elicitation: bool,
    /// Its model can be asked.
    pub sampling: bool,
    /// It can name the folders that it works in.
    pub roots: bool,
}

impl Client {
    /// Whether it can be asked by this method.
    pub fn can(&self, method: &str) -> bool {
        match method {
            ELICIT => self.elicitation,
            SAMPLE => self.sampling,
            ROOTS => self.roots,
            _ => false,
        }
    }
}

/// Questions that are asked together. Each has a key, which must mean the same question whenever the tool runs with
/// the same arguments.
///
/// ```
/// # use llmc_core::prelude::*;
/// let questions = Questions::new()
///     .elicit("name", "What is your name?", json!({"name": {"type": "string"}}), &["name"])
///     .roots("folders");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Questions {
    /// By key.
    pub ask: BTreeMap<String, Question>,
}

impl Questions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the person to fill in a form with these fields, of which some are `required`. Fields are texts, numbers,
    /// truth values and choices; see "elicitation" in the protocol.
    #[must_use]
    pub fn elicit(self, key: &str, message: &str, fields: Value, required: &[&str]) -> Self {
        let mut schema = json!({"type": "object", "properties": fields});
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        self.question(key, ELICIT, json!({"message": message, "requestedSchema": schema}))
    }

    /// Asks the client's model.
    #[must_use]
    pub fn sample(self, key: &str, prompt: &str, max_tokens: u32) -> Self {
        let message = json!({"role": "user", "content": {"type": "text", "text": prompt}});
        self.question(key, SAMPLE, json!({"messages": [message], "maxTokens": max_tokens}))
    }

    /// Asks for the folders that the client works in.
    #[must_use]
    pub fn roots(self, key: &str) -> Self {
        self.question(key, ROOTS, json!({}))
    }

    fn question(mut self, key: &str, method: &str, params: Value) -> Self {
        self.ask.insert(key.to_owned(), Question { method: method.to_owned(), params });
        self
    }
}

/// What was answered, by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Answers(pub BTreeMap<String, Value>);

/// What a person did with a form.
#[derive(Clone, Debug, PartialEq)]
pub enum Elicited {
    /// Filled it in.
    Accepted(Map<String, Value>),
    /// Said no.
    Declined,
    /// Put it away.
    Cancelled,
}

impl Answers {
    /// The answer to [`Questions::elicit`].
    ///
    /// # Errors
    /// If it is none.
    pub fn elicited(&self, key: &str) -> ToolResult<Elicited> {
        #[derive(Deserialize)]
        struct Answer {
            action: String,
            #[serde(default)]
            content: Option<Map<String, Value>>,
        }
        let Answer { action, content } = self.parsed(key)?;
        match action.as_str() {
            "accept" => Ok(Elicited::Accepted(content.unwrap_or_default())),
            "decline" => Ok(Elicited::Declined),
            _ => Ok(Elicited::Cancelled),
        }
    }

    /// The text of the answer to [`Questions::sample`].
    ///
    /// # Errors
    /// If it is none, or no text.
    pub fn sampled(&self, key: &str) -> ToolResult<String> {
        #[derive(Deserialize)]
        struct Answer {
            content: Value,
        }
        let Answer { content } = self.parsed(key)?;
        let blocks = match content {
            Value::Array(blocks) => blocks,
            block => vec![block],
        };
        let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        match texts.is_empty() {
            true => Err(ToolError::failed("the client's model answered with something else than text")),
            false => Ok(texts.join("\n")),
        }
    }

    /// The addresses in the answer to [`Questions::roots`].
    ///
    /// # Errors
    /// If it is none.
    pub fn roots(&self, key: &str) -> ToolResult<Vec<String>> {
        #[derive(Deserialize)]
        struct Answer {
            roots: Vec<Root>,
        }
        #[derive(Deserialize)]
        struct Root {
            uri: String,
        }
        let Answer { roots } = self.parsed(key)?;
        Ok(roots.into_iter().map(|root| root.uri).collect())
    }

    fn parsed<T: serde::de::DeserializeOwned>(&self, key: &str) -> ToolResult<T> {
        let answer = self.0.get(key).cloned().unwrap_or_default();
        serde_json::from_value(answer)
            .map_err(|error| ToolError::failed(format!("the client's answer to `{key}` is none: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(value: Value) -> Answers {
        Answers(BTreeMap::from([("k".to_owned(), value)]))
    }

    #[test]
    fn questions_have_the_form_of_the_protocol() {
        let questions = Questions::new().elicit("a", "Sure?", json!({"ok": {"type": "boolean"}}), &["ok"]);
        assert_eq!(
            serde_json::to_value(questions.sample("b", "Why?", 10).roots("c")).unwrap(),
            json!({"ask": {
                "a": {"method": "elicitation/create", "params": {"message": "Sure?", "requestedSchema": {
                    "type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
                }}},
                "b": {"method": "sampling/createMessage", "params": {"maxTokens": 10, "messages": [
                    {"role": "user", "content": {"type": "text", "text": "Why?"}},
                ]}},
                "c": {"method": "roots/list", "params": {}},
            }})
        );
    }

    #[test]
    fn answers_are_read_and_odd_ones_are_errors() {
        let accepted = answers(json!({"action": "accept", "content": {"ok": true}})).elicited("k").unwrap();
        assert_eq!(accepted, Elicited::Accepted(Map::from_iter([("ok".to_owned(), json!(true))])));
        assert_eq!(answers(json!({"action": "decline"})).elicited("k").unwrap(), Elicited::Declined);
        assert_eq!(answers(json!({"action": "shrug"})).elicited("k").unwrap(), Elicited::Cancelled);
        assert!(answers(json!(5)).elicited("k").is_err() && Answers::default().elicited("k").is_err());

        let sampled = json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "4"}});
        assert_eq!(answers(sampled).sampled("k").unwrap(), "4");
        assert!(answers(json!({"content": {"type": "image"}})).sampled("k").is_err());
        let roots = answers(json!({"roots": [{"uri": "file:///a", "name": "a"}]}));
        assert_eq!(roots.roots("k").unwrap(), ["file:///a"]);
    }

    #[test]
    fn only_what_a_client_can_is_asked() {
        let client = Client { sampling: true, ..Client::default() };
        assert!(client.can(SAMPLE) && !client.can(ELICIT) && !client.can(ROOTS) && !client.can("ping"));
    }
}
