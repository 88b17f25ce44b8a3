//! Spans of calls, sent to an OpenTelemetry collector by OTLP over HTTP.
//!
//! Only with the feature `otlp`; without it a configuration that asks for it is refused. Spans are batched by the SDK
//! in a thread of its own: a collector that is slow or gone costs spans, never calls.

use std::time::{Duration, SystemTime};

use super::Trace;

/// A call that ended.
#[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "nobody sends it"))]
pub(crate) struct Span<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) tool: &'a str,
    pub(crate) plugin: Option<&'a str>,
    pub(crate) caller: &'a str,
    pub(crate) call: u64,
    pub(crate) outcome: &'static str,
    pub(crate) ended: SystemTime,
    pub(crate) took: Duration,
}

#[cfg(feature = "otlp")]
pub(crate) use with::{Spans, start};
#[cfg(not(feature = "otlp"))]
pub(crate) use without::{Spans, start};

#[cfg(not(feature = "otlp"))]
mod without {
    use super::Span;

    /// Nobody wants spans.
    pub(crate) enum Spans {}

    /// # Errors
    ///
    /// Always: this program cannot send spans.
    pub(crate) fn start(_endpoint: &str) -> anyhow::Result<Spans> {
        anyhow::bail!(
            "telemetry.otlp: this llmc was built without the feature `otlp`; build it with \
             `cargo build -p llmc-server --features otlp`, or remove the key"
        )
    }

    impl Spans {
        pub(crate) fn send(&self, _span: &Span<'_>) {
            match *self {}
        }
    }
}

#[cfg(feature = "otlp")]
#[path = "otlp_export.rs"]
mod with;
