//! What the server tells of itself while it works: numbers for Prometheus, and the trace that a call belongs to.
//!
//! - [`trace`]: W3C trace context, taken from clients and handed on to the calls below a call.
//! - [`metrics`]: every number that `/metrics` shows; [`histogram`] counts durations without a lock.
//! - [`report`]: the same numbers in a few words, for the tool `get_metrics`.
//! - [`otlp`]: spans for an OpenTelemetry collector, behind the feature `otlp`.
//!
//! There is one set of numbers per process. Handles are looked up when a tool is registered or a plugin starts, so a
//! call costs a few atomic additions. No label comes from a caller: the number of series is bounded by the
//! configuration.

pub(crate) mod histogram;
pub(crate) mod metrics;
pub(crate) mod otlp;
pub(crate) mod report;
pub(crate) mod trace;

pub(crate) use metrics::{METRICS, OfPlugin, OfTool};
pub(crate) use trace::{Above, Trace, new_trace_id, parse_traceparent};
