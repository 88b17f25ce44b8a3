//! The numbers in a few words, for the tool `get_metrics`.

use serde_json::{Map, Value, json};

use super::metrics::METRICS;
use crate::call::Registry;

/// Calls of every tool that was called, with the median and the 95th percentile of their durations.
pub(crate) fn report(registry: &Registry) -> Value {
    let mut tools = Map::new();
    for entry in registry.entries() {
        let outcomes: Map<String, Value> =
            entry.metrics.outcomes().map(|(outcome, count)| (outcome.to_owned(), count.into())).collect();
        if outcomes.is_empty() {
            continue;
        }
        let durations = entry.metrics.durations();
        let ms = |share: f64| durations.quantile_us(share).map(|micros| micros as f64 / 1e3);
        let tool = json!({"calls": outcomes, "p50_ms": ms(0.5), "p95_ms": ms(0.95)});
        tools.insert(entry.name.clone(), tool);
    }
    json!({
        "uptime_s": METRICS.uptime().as_secs(),
        "calls_running": METRICS.calls_running.get(),
        "runs_live": METRICS.runs_live.get(),
        "tools": tools,
    })
}
