//! Scenarios: what an agent shall do with the tools, and what may be said of how it did it.

mod read;
mod template;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::read::{ScenarioError, parse};
pub use self::template::{Variables, fill, fill_object};

/// A scenario. Unknown fields are refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// Version of the format: 1.
    #[serde(default = "first")]
    pub version: u32,
    /// The set that it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub suite: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What the agent shall reach.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub goal: String,
    /// How the tools are reached, such as `mcp`; for readers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,
    /// The ground on which `ruta run` starts a server of its own.
    #[serde(default)]
    pub preconditions: Preconditions,
    /// Texts to search for, by name: `base`, `variants` and others. Expressions and scripts use them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, Query>,
    /// The calls that `ruta run` makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Step>,
    /// What has to hold.
    pub expectations: Expectations,
    /// How much each failure matters.
    #[serde(default)]
    pub severity_policy: SeverityPolicy,
}

/// A server over a folder made for the run. A scenario can name no path of the machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preconditions {
    /// Files of the root `work`: text by relative path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// Whether tools may write to `work`. Default: `ro`.
    #[serde(default)]
    pub access: Access,
    /// `policy.read_only` of the server.
    #[serde(default)]
    pub read_only: bool,
    /// `policy.deny` of the server: tools that nobody may call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<String>,
    /// Programs that `run_command` may start in its jail, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub programs: Vec<String>,
}

/// What may be done in the root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read.
    #[default]
    Ro,
    /// Read and write.
    Rw,
}

/// One text, or a list of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Query {
    /// A text.
    One(String),
    /// Several, reached as `name[0]`.
    Many(Vec<String>),
}

/// A tool call of a script. Texts may hold `${name}`: queries, saved values, the counters of repetitions.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The tool.
    pub call: String,
    /// Its arguments.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
    /// A name for the call, for expressions.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// How often it is made; `${i}` counts from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<u32>,
    /// A variable and the list that it takes its values from, such as `{ q: "${variants}" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub for_each: BTreeMap<String, Value>,
    /// Variables to set, each by a JSON pointer into the structured result, such as `/total`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub save: BTreeMap<String, String>,
    /// Where the results are, if not in the usual places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Items>,
}

/// Where in a structured result the items are.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Items {
    /// JSON pointer to the list, such as `/matches`.
    pub list: String,
    /// Field of each item that names it, such as `path`; without it the items are texts or numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// What has to hold; something has to.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// Tools of which a call has to succeed; `*` stands for any letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_use_tools: Vec<String>,
    /// Tools that nobody may even try to call; `*` stands for any letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub must_not_use_tools: Vec<String>,
    /// What else has to hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub properties: Vec<Property>,
}

/// An expression that has to be true.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Property {
    /// Its name; letters, digits, `.`, `_`, `-` and spaces.
    pub name: String,
    /// What kind of claim it is.
    #[serde(rename = "type")]
    pub kind: PropertyKind,
    /// An expression whose value `constraint` may use as `relation`, and by the name of the function that it calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// The expression that has to be true.
    pub constraint: String,
}

/// Kinds of claims. All are judged alike; they differ in the incidents that they make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PropertyKind {
    /// Results of related calls have to fit together.
    Metamorphic,
    /// Has to hold.
    Assertion,
    /// Should hold; P3 unless the severity policy says otherwise.
    Heuristic,
}

/// How much failures matter.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeverityPolicy {
    /// By the name of the property. Default: P2, and P3 for heuristics.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub property_failures: BTreeMap<String, Severity>,
}

/// How much something matters; P0 is the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Severity {
    /// Nothing could be judged.
    P0,
    /// Must be mended.
    P1,
    /// Should be mended.
    P2,
    /// Worth a look.
    P3,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

fn first() -> u32 {
    1
}
