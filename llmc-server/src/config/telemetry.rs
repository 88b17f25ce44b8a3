//! `[telemetry]`: who is told how the server fares.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[telemetry]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// Count calls, their outcomes and durations, for `/metrics` and `get_metrics`.
    pub metrics: bool,
    /// Address of the HTTP receiver of an OpenTelemetry collector, such as `"http://127.0.0.1:4318"`, for a span of each
    /// call. Only where llmc was built with the feature `otlp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<String>,
    /// Offer clients the tool `get_metrics`, which tells calls, outcomes and durations of all tools.
    pub get_metrics: bool,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self { metrics: true, otlp: None, get_metrics: false }
    }
}
