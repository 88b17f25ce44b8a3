//! What a plugin says about itself. It describes and requests; it never grants.
//!
//! The server reads manifests of plugins that it does not trust: parsing is total, unknown fields are ignored and
//! unknown kinds are kept as `Unknown`, so that a newer plugin can be described by an older server.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The plugin as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Name of the plugin.
    pub name: String,
    /// Version of the plugin.
    pub version: String,
    /// Version of the plugin interface that it was built with.
    pub abi: String,
    /// What the plugin is for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Its tools, prompts and resources; a call names one by its index.
    #[serde(default)]
    pub items: Vec<Item>,
    /// Grants that it would like to have.
    #[serde(default)]
    pub requests: Vec<GrantRequest>,
    /// JSON Schema of its configuration, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_schema: Option<Value>,
}

/// One entry of a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its name for programs, such as `read_file`.
    pub name: String,
    /// Its name for people, such as `Read file`.
    #[serde(default)]
    pub title: String,
    /// What it does; a model reads this to choose.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of its arguments; `{}` for a resource.
    pub input_schema: Value,
    /// JSON Schema of its structured content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// How it behaves.
    #[serde(default)]
    pub annotations: Annotations,
    /// Its calls usually take long, so a client that can wait for them as a task gets one at once.
    #[serde(default, skip_serializing_if = "is_false")]
    pub long: bool,
    /// Of a resource: what it is and where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceItem>,
}

/// What an [`Item`] of kind [`ItemKind::Resource`] says beyond its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceItem {
    /// Its address, or a template with variables: `{name}` for a part without `/`, `{+name}` for any text.
    pub uri: String,
    /// Its media type, if all that it can be read as have the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Of a template that can name resources that there are: a tool of the same plugin. Who may not call that gets to
    /// see none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lists: Option<String>,
    /// What it holds never changes while the plugin runs.
    #[serde(default, skip_serializing_if = "is_false")]
    pub fixed: bool,
    /// A tool of the same plugin: who may not call that may not read this either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rights_of: Option<String>,
}

/// What an [`Item`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemKind {
    /// A tool.
    Tool,
    /// Text that a person has put into a conversation.
    Prompt,
    /// Data with an address.
    Resource,
    /// Something this version does not know.
    #[serde(other)]
    Unknown,
}

/// How a tool behaves, by its author's word. Hints, not guarantees.
///
/// What is not said is taken to be the worse case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Annotations {
    /// It changes nothing.
    pub read_only: bool,
    /// It may destroy or overwrite something.
    pub destructive: bool,
    /// Doing it twice has the effect of doing it once.
    pub idempotent: bool,
    /// It deals with things outside the granted directories, such as the network.
    pub open_world: bool,
}

impl Annotations {
    /// Reads, and nothing else.
    pub const READ_ONLY: Self =
        Self { read_only: true, destructive: false, idempotent: true, open_world: false };

    /// Adds things and never destroys or overwrites any.
    pub const ADDITIVE: Self =
        Self { read_only: false, destructive: false, idempotent: false, open_world: false };

    /// May destroy or overwrite things inside the granted directories.
    pub const DESTRUCTIVE: Self =
        Self { read_only: false, destructive: true, idempotent: false, open_world: false };

    /// The worst case.
    pub const fn new() -> Self {
        Self { read_only: false, destructive: true, idempotent: false, open_world: true }
    }

    /// Says whether doing it twice has the effect of doing it once.
    #[must_use]
    pub const fn idempotent(self, idempotent: bool) -> Self {
        Self { idempotent, ..self }
    }

    /// Says whether it deals with things outside the granted directories.
    #[must_use]
    pub const fn open_world(self, open_world: bool) -> Self {
        Self { open_world, ..self }
    }
}

impl Default for Annotations {
    fn default() -> Self {
        Self::new()
    }
}

/// A grant that a plugin would like to have, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRequest {
    /// What kind of grant.
    pub grant: GrantKind,
    /// What it is needed for; the operator reads this.
    #[serde(default)]
    pub reason: String,
}

/// A kind of grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// Directories.
    Roots,
    /// Programs, in a jail.
    Run,
    /// Other tools.
    Tools,
    /// Secrets.
    Secrets,
    /// Network addresses.
    Net,
    /// A folder of its own.
    State,
    /// Something this version does not know.
    #[serde(other)]
    Unknown,
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_newer_manifest_is_read_as_far_as_it_is_known() {
        let manifest: Manifest = serde_json::from_value(json!({
            "name": "a", "version": "1.0.0", "abi": "1.9.0", "later": true,
            "items": [{"kind": "hologram", "name": "p", "input_schema": {}}],
            "requests": [{"grant": "camera"}],
        }))
        .unwrap();
        assert_eq!(manifest.items[0].kind, ItemKind::Unknown);
        assert_eq!(manifest.items[0].annotations, Annotations::new());
        assert_eq!(manifest.requests[0].grant, GrantKind::Unknown);
    }

    #[test]
    fn hostile_shapes_are_errors() {
        for bad in [json!(null), json!({}), json!({"name": 1}), json!([1, 2, 3])] {
            assert!(serde_json::from_value::<Manifest>(bad.clone()).is_err(), "{bad}");
        }
    }
}
