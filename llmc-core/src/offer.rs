//! Prompts and resources: what the server asks a plugin for, and what it gets.
//!
//! An item that is no tool is called with a [`Wanted`]. The answers are the `structured` part of an envelope, in the
//! form of the Model Context Protocol.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Content;
use crate::envelope::{Audience, EmbeddedResource};

/// The arguments of a call of a prompt or a resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The messages of a prompt: a [`Messages`].
    Get {
        /// Its arguments.
        #[serde(default)]
        arguments: Map<String, Value>,
    },
    /// What a resource holds: [`Contents`].
    Read(ResourceUri),
    /// Resources of a template that there are: [`Listed`].
    List {},
    /// Values of an argument or a variable that begin as given: a [`Completion`].
    Complete {
        /// Its name.
        argument: String,
        /// What was typed so far.
        value: String,
        /// The others, as far as they are known.
        #[serde(default)]
        others: BTreeMap<String, String>,
    },
}

/// The messages of a prompt.
///
/// ```
/// # use llmc_core::prelude::*;
/// let messages = Messages::user("Review this:").with_user(Content::text("fn main() {}"));
/// assert_eq!(messages.messages.len(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Messages {
    /// What the prompt came to be about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// In the order of the conversation.
    pub messages: Vec<Message>,
}

/// One message of a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Audience,
    /// What is said.
    pub content: Content,
}

impl Messages {
    /// Begins with a text of the person.
    pub fn user(text: impl Into<String>) -> Self {
        Self::default().with_user(Content::text(text))
    }

    /// Adds something that the person says.
    #[must_use]
    pub fn with_user(mut self, content: Content) -> Self {
        self.messages.push(Message { role: Audience::User, content });
        self
    }

    /// Adds something that the model says.
    #[must_use]
    pub fn with_assistant(mut self, content: Content) -> Self {
        self.messages.push(Message { role: Audience::Assistant, content });
        self
    }

    /// Says what the prompt came to be about.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }
}

/// The address of a resource that is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceUri {
    /// The whole address.
    pub uri: String,
    /// The variables of the template, with percent-encoding undone.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

impl ResourceUri {
    /// A variable of the template; empty if the template has none of that name.
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }
}

/// What a resource holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Contents {
    /// At least one.
    pub contents: Vec<EmbeddedResource>,
}

/// Resources that there are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// In a fixed order.
    pub resources: Vec<ResourceLink>,
}

/// A resource that there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceLink {
    /// Its address.
    pub uri: String,
    /// Its name.
    pub name: String,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Its size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// Values that an argument or a variable can have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Best first; clients see the first hundred.
    pub values: Vec<String>,
}

impl<T: Into<String>> FromIterator<T> for Completion {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self { values: values.into_iter().map(Into::into).collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_wanted_is_one_word_and_its_data() {
        let wanted = |value| serde_json::from_value::<Wanted>(value).unwrap();
        assert_eq!(wanted(json!({"list": {}})), Wanted::List {});
        assert_eq!(wanted(json!({"get": {}})), Wanted::Get { arguments: Map::new() });
        let read = wanted(json!({"read": {"uri": "a://b/c", "variables": {"name": "c"}}}));
        let Wanted::Read(uri) = read else { panic!("{read:?}") };
        assert_eq!((uri.variable("name"), uri.variable("other")), ("c", ""));
    }

    #[test]
    fn messages_have_the_form_of_the_protocol() {
        let messages = Messages::user("a").with_assistant(Content::text("b")).describe("c");
        assert_eq!(
            serde_json::to_value(messages).unwrap(),
            json!({"description": "c", "messages": [
                {"role": "user", "content": {"type": "text", "text": "a"}},
                {"role": "assistant", "content": {"type": "text", "text": "b"}},
            ]})
        );
    }
}
