//! What a judgment says.

mod junit;
mod table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::junit::junit;
pub use self::table::table;
use crate::scenario::Severity;

/// The judgment of one trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The session.
    pub run_id: String,
    /// The scenario.
    pub scenario_id: String,
    /// Whether all that was expected holds.
    pub status: Status,
    /// What does not hold, or could not be judged.
    pub incidents: Vec<Incident>,
    /// How much was looked at.
    pub metrics: Metrics,
    /// Names of all that was judged.
    pub checks: Vec<String>,
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// All that was expected was seen to hold.
    Pass,
    /// Something does not hold, or could not be judged.
    Fail,
}

/// Something that does not hold, or could not be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// Its name in this report.
    pub id: String,
    /// How much it matters.
    pub severity: Severity,
    /// What kind of failure it is.
    #[serde(rename = "type")]
    pub kind: IncidentKind,
    /// What was checked.
    pub check: String,
    /// In a sentence.
    pub summary: String,
    /// For programs.
    pub details: Map<String, Value>,
}

/// Kinds of failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum IncidentKind {
    /// No call was recorded.
    TraceEmpty,
    /// No call of the tool succeeded.
    ToolNotUsed,
    /// A call of the tool was tried.
    ToolForbidden,
    /// A metamorphic property is false.
    MetamorphicViolation,
    /// A metamorphic property cannot be judged.
    MetamorphicError,
    /// An assertion or a heuristic is false.
    PropertyViolation,
    /// An assertion or a heuristic cannot be judged.
    PropertyError,
}

/// How much was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Metrics {
    /// Events of the trace.
    pub total_steps: usize,
    /// Tool calls of the trace.
    pub total_tool_calls: usize,
    /// Tools and properties that were expected.
    pub expectations: usize,
}

impl Report {
    /// Whether there is an incident at least as bad as this.
    pub fn fails_at(&self, severity: Severity) -> bool {
        self.incidents.iter().any(|incident| incident.severity <= severity)
    }

    /// The report as JSON with line breaks.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl IncidentKind {
    /// As in JSON: `TOOL_NOT_USED`.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether it says that nothing could be judged, rather than that something is false.
    pub fn is_error(self) -> bool {
        matches!(self, Self::TraceEmpty | Self::MetamorphicError | Self::PropertyError)
    }
}
