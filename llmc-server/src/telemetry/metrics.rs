//! Every number that `/metrics` shows.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Value, json};

use super::histogram::{Histogram, Snapshot};
use crate::call::Kind;

/// What becomes of calls, the most frequent first.
const OUTCOMES: [&str; 20] = [
    "ok",
    "tool_error",
    "abandoned",
    Kind::UnknownTool.as_str(),
    Kind::Denied.as_str(),
    Kind::InvalidArguments.as_str(),
    Kind::Limit.as_str(),
    Kind::Busy.as_str(),
    Kind::TimedOut.as_str(),
    Kind::Cancelled.as_str(),
    Kind::PluginFailed.as_str(),
    Kind::ToolFailed.as_str(),
    Kind::InvalidResult.as_str(),
    Kind::AuditFailed.as_str(),
    Kind::NotFound.as_str(),
    Kind::Declined.as_str(),
    Kind::Unconfirmed.as_str(),
    Kind::InputRequired.as_str(),
    Kind::ClientLacks.as_str(),
    Kind::InvalidState.as_str(),
];

/// The client is asked something and comes back: neither good nor bad.
const ASKED: &str = Kind::InputRequired.as_str();

/// Those of them that came to no tool.
const REFUSED: [&str; 11] = [
    Kind::UnknownTool.as_str(),
    Kind::Denied.as_str(),
    Kind::InvalidArguments.as_str(),
    Kind::Limit.as_str(),
    Kind::Busy.as_str(),
    Kind::AuditFailed.as_str(),
    Kind::NotFound.as_str(),
    Kind::Declined.as_str(),
    Kind::Unconfirmed.as_str(),
    Kind::ClientLacks.as_str(),
    Kind::InvalidState.as_str(),
];

/// Stands for all tools that do not exist: whoever calls them chooses their names.
pub(crate) const UNKNOWN: &str = "(unknown)";

/// All numbers of this process.
pub(crate) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

type Integer = Gauge<i64, AtomicI64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tool {
    tool: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolOutcome {
    tool: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Plugin {
    plugin: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    route: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Consent {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Start {
    start: &'static str,
}

/// Numbers, and the handles by which they are counted.
pub(crate) struct Metrics {
    registry: Registry,
    begun: Instant,
    calls: Family<ToolOutcome, Counter>,
    call_duration: Family<Tool, Histogram>,
    argument_bytes: Family<Tool, Counter>,
    result_bytes: Family<Tool, Counter>,
    limits: Family<Limit, Counter>,
    host_starts: Family<Plugin, Counter>,
    host_restarts: Family<Plugin, Counter>,
    host_failures: Family<Plugin, Counter>,
    runs: Family<Plugin, Counter>,
    run_start: Family<Start, Histogram>,
    http_answers: Family<Answer, Counter>,
    auth_failures: Family<Reason, Counter>,
    consents: Family<Consent, Counter>,
    /// How long calls waited for an operator.
    consent_wait: Histogram,
    /// Calls that wait for an operator.
    pub(crate) consents_waiting: Integer,
    /// Calls that wait or run.
    pub(crate) calls_running: Integer,
    /// How long calls wait for a place.
    pub(crate) queue: Histogram,
    /// Jails that live.
    pub(crate) runs_live: Integer,
    /// Jails that may live at the same time.
    pub(crate) run_places: Integer,
    /// How long runs wait for a place among them.
    pub(crate) run_queue: Histogram,
    /// Runners that were started in the place of one that ended.
    pub(crate) runner_restarts: Counter,
    /// Connections of HTTP clients.
    pub(crate) connections: Integer,
    /// Bytes of bodies that HTTP clients sent.
    pub(crate) http_body_bytes: Counter,
    /// Audit records that could not be written.
    pub(crate) audit_failures: Counter,
    /// Audit records that wait to be written.
    audit_queue: Integer,
    /// 1 while audit records cannot be written.
    audit_failing: Integer,
    unknown: Arc<OfTool>,
    tools: Mutex<BTreeMap<Arc<str>, Arc<OfTool>>>,
}

/// What is counted of one tool.
#[derive(Debug)]
pub(crate) struct OfTool {
    name: Arc<str>,
    /// Made when they first happen: most of them never do.
    outcomes: [OnceLock<Counter>; OUTCOMES.len()],
    duration: Histogram,
    argument_bytes: Counter,
    result_bytes: Counter,
}

/// What is counted of one plugin.
#[derive(Clone, Debug)]
pub(crate) struct OfPlugin {
    pub(crate) host_starts: Counter,
    pub(crate) host_restarts: Counter,
    pub(crate) host_failures: Counter,
}

/// A call that ended.
pub(crate) struct Ended {
    pub(crate) outcome: &'static str,
    pub(crate) duration: Duration,
    pub(crate) argument_bytes: usize,
    pub(crate) result_bytes: usize,
}

/// Calls of all tools together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) ok: u64,
    /// Those that were not let through.
    pub(crate) refused: u64,
    /// Those that went wrong.
    pub(crate) failed: u64,
    pub(crate) durations: Snapshot,
}

impl Totals {
    fn add(&mut self, tool: &OfTool) {
        for (outcome, count) in tool.outcomes() {
            match outcome {
                "ok" => self.ok += count,
                ASKED => {}
                outcome if REFUSED.contains(&outcome) => self.refused += count,
                _ => self.failed += count,
            }
        }
        self.durations = self.durations.plus(&tool.durations());
    }
}

/// Counts one thing more until dropped.
#[derive(Debug)]
pub(crate) struct Held(Integer);

impl Held {
    pub(crate) fn of(gauge: &Integer) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("llmc");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program", Info::new(version));
        let unknown: Arc<str> = UNKNOWN.into();
        let mut new = Self {
            begun: Instant::now(),
            calls: Family::default(),
            call_duration: Family::default(),
            argument_bytes: Family::default(),
            result_bytes: Family::default(),
            limits: Family::default(),
            host_starts: Family::default(),
            host_restarts: Family::default(),
            host_failures: Family::default(),
            runs: Family::default(),
            run_start: Family::default(),
            http_answers: Family::default(),
            auth_failures: Family::default(),
            consents: Family::default(),
            consent_wait: Histogram::default(),
            consents_waiting: Integer::default(),
            calls_running: Integer::default(),
            queue: Histogram::default(),
            runs_live: Integer::default(),
            run_places: Integer::default(),
            run_queue: Histogram::default(),
            runner_restarts: Counter::default(),
            connections: Integer::default(),
            http_body_bytes: Counter::default(),
            audit_failures: Counter::default(),
            audit_queue: Integer::default(),
            audit_failing: Integer::default(),
            unknown: Arc::new(OfTool {
                name: unknown,
                outcomes: Default::default(),
                duration: Histogram::default(),
                argument_bytes: Counter::default(),
                result_bytes: Counter::default(),
            }),
            tools: Mutex::default(),
            registry: Registry::default(),
        };
        new.register(&mut registry);
        new.registry = registry;
        new
    }

    /// Names and texts of all numbers.
    fn register(&self, to: &mut Registry) {
        to.register("calls", "Calls by tool and outcome, refused ones too", self.calls.clone());
        to.register("calls_running", "Calls that wait or run", self.calls_running.clone());
        to.register_with_unit(
            "call_duration",
            "Time from a call to its result, waiting included",
            Unit::Seconds,
            self.call_duration.clone(),
        );
        to.register_with_unit("call_queue", "Wait for a place to run", Unit::Seconds, self.queue.clone());
        to.register_with_unit("call_arguments", "Arguments", Unit::Bytes, self.argument_bytes.clone());
        to.register_with_unit("call_results", "Results", Unit::Bytes, self.result_bytes.clone());
        to.register("limits_hit", "Calls and runs that met a limit", self.limits.clone());
        to.register("host_starts", "Plugin hosts that became ready", self.host_starts.clone());
        to.register("host_restarts", "Those in the place of one that ended", self.host_restarts.clone());
        to.register("host_failures", "Plugin hosts that did not become ready", self.host_failures.clone());
        to.register("runs", "Jails that were started", self.runs.clone());
        to.register("runs_live", "Jails that live", self.runs_live.clone());
        to.register("run_places", "Jails that may live at the same time", self.run_places.clone());
        to.register_with_unit(
            "run_queue",
            "Wait for a place among them",
            Unit::Seconds,
            self.run_queue.clone(),
        );
        to.register_with_unit(
            "run_start",
            "Start of a jail: one that was parked in the pool, or a new one",
            Unit::Seconds,
            self.run_start.clone(),
        );
        to.register(
            "runner_restarts",
            "Runners in the place of one that ended",
            self.runner_restarts.clone(),
        );
        to.register("http_answers", "Answers to HTTP requests", self.http_answers.clone());
        to.register("http_connections", "Connections of HTTP clients", self.connections.clone());
        to.register_with_unit("http_bodies", "Bodies received", Unit::Bytes, self.http_body_bytes.clone());
        to.register("auth_failures", "HTTP requests without a valid token", self.auth_failures.clone());
        to.register(
            "consents",
            "Calls that waited for an operator, by what became of that",
            self.consents.clone(),
        );
        to.register("consents_waiting", "Calls that wait for an operator", self.consents_waiting.clone());
        to.register_with_unit(
            "consent_wait",
            "How long calls waited for an operator",
            Unit::Seconds,
            self.consent_wait.clone(),
        );
        to.register("audit_queue", "Audit records that wait to be written", self.audit_queue.clone());
        to.register("audit_failing", "1 while audit records cannot be written", self.audit_failing.clone());
        to.register("audit_failures", "Audit records that could not be written", self.audit_failures.clone());
    }

    /// The handles of a tool. The same for the same name.
    pub(crate) fn tool(&self, name: &str) -> Arc<OfTool> {
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tools.get(name) {
            return Arc::clone(known);
        }
        let name: Arc<str> = name.into();
        let label = Tool { tool: Arc::clone(&name) };
        let tool = Arc::new(OfTool {
            name: Arc::clone(&name),
            outcomes: Default::default(),
            duration: self.call_duration.get_or_create_owned(&label),
            argument_bytes: self.argument_bytes.get_or_create_owned(&label),
            result_bytes: self.result_bytes.get_or_create_owned(&label),
        });
        tools.insert(name, Arc::clone(&tool));
        tool
    }

    /// The handles of a plugin.
    pub(crate) fn plugin(&self, name: &Arc<str>) -> OfPlugin {
        let label = Plugin { plugin: Arc::clone(name) };
        OfPlugin {
            host_starts: self.host_starts.get_or_create_owned(&label),
            host_restarts: self.host_restarts.get_or_create_owned(&label),
            host_failures: self.host_failures.get_or_create_owned(&label),
        }
    }

    /// Counts a call; `None` is a tool that does not exist.
    pub(crate) fn call(&self, tool: Option<&OfTool>, ended: &Ended) {
        let known = tool.is_some();
        let tool = tool.unwrap_or(&self.unknown);
        let outcome = OUTCOMES.iter().position(|outcome| *outcome == ended.outcome).unwrap_or(0);
        let counter = || {
            let label = ToolOutcome { tool: Arc::clone(&tool.name), outcome: OUTCOMES[outcome] };
            self.calls.get_or_create_owned(&label)
        };
        tool.outcomes[outcome].get_or_init(counter).inc();
        // How long a refusal took that did not come as far as a tool says nothing of any tool.
        if known {
            tool.duration.observe(ended.duration);
            tool.argument_bytes.inc_by(ended.argument_bytes as u64);
            tool.result_bytes.inc_by(ended.result_bytes as u64);
        }
    }

    /// Counts something that met a limit: a key of `[limits]`, or what a run reached.
    pub(crate) fn limit(&self, limit: &'static str) {
        self.limits.get_or_create(&Limit { limit }).inc();
    }

    /// Counts a jail that was started.
    pub(crate) fn run(&self, plugin: &str, was_parked: bool, took: Duration) {
        self.runs.get_or_create(&Plugin { plugin: plugin.into() }).inc();
        let start = if was_parked { "parked" } else { "new" };
        self.run_start.get_or_create(&Start { start }).observe(took);
    }

    /// Counts an answer to an HTTP request.
    pub(crate) fn answer(&self, route: &'static str, status: u16) {
        self.http_answers.get_or_create(&Answer { route, status }).inc();
    }

    /// Counts an HTTP request that was not let in.
    pub(crate) fn auth_failure(&self, reason: &'static str) {
        self.auth_failures.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a call that waited for an operator.
    pub(crate) fn consent(&self, outcome: &'static str, waited: Duration) {
        self.consents.get_or_create(&Consent { outcome }).inc();
        self.consent_wait.observe(waited);
    }

    /// Everything, in the text format of OpenMetrics 1.0.
    pub(crate) fn text(&self) -> String {
        let (waiting, failing) = crate::audit::health();
        self.audit_queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.audit_failing.set(failing.into());
        let mut text = String::new();
        // Only a writer that fails makes it fail; a string does not.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// All calls.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        totals.add(&self.unknown);
        let tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        tools.values().for_each(|tool| totals.add(tool));
        totals
    }

    /// Starts, restarts and failures of a plugin's host.
    pub(crate) fn plugin_counts(&self, name: &str) -> Value {
        let OfPlugin { host_starts, host_restarts, host_failures } = self.plugin(&name.into());
        json!({"starts": host_starts.get(), "restarts": host_restarts.get(), "failures": host_failures.get()})
    }

    /// Jails: how many there are and may be, and how they start.
    pub(crate) fn pool(&self) -> Value {
        let starts = |start| {
            let starts = self.run_start.get_or_create_owned(&Start { start }).snapshot();
            let ms = starts.quantile_us(0.5).map(|micros| micros as f64 / 1e3);
            json!({"count": starts.count(), "p50_ms": ms})
        };
        let queue = self.run_queue.snapshot();
        json!({
            "live": self.runs_live.get(),
            "places": self.run_places.get(),
            "parked": starts("parked"),
            "new": starts("new"),
            "queue_p95_ms": queue.quantile_us(0.95).map(|micros| micros as f64 / 1e3),
            "runner_restarts": self.runner_restarts.get(),
        })
    }

    /// HTTP requests that were not let in.
    pub(crate) fn auth_failures_total(&self) -> u64 {
        let reasons = ["none", "unknown", "expired", "scope", "ticket"];
        reasons.into_iter().map(|reason| self.auth_failures.get_or_create(&Reason { reason }).get()).sum()
    }

    /// How long there has been something to count.
    pub(crate) fn uptime(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl OfTool {
    /// How often each thing became of its calls, without what never happened.
    pub(crate) fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        OUTCOMES
            .into_iter()
            .zip(&self.outcomes)
            .filter_map(|(outcome, counter)| Some((outcome, counter.get()?.get())))
    }

    pub(crate) fn durations(&self) -> Snapshot {
        self.duration.snapshot()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: &'static str) -> Ended {
        Ended { outcome, duration: Duration::from_millis(3), argument_bytes: 10, result_bytes: 20 }
    }

    #[test]
    fn calls_are_counted_by_tool_and_outcome() {
        let metrics = Metrics::new();
        let tool = metrics.tool("read_file");
        metrics.call(Some(&tool), &ended("ok"));
        metrics.call(Some(&tool), &ended("ok"));
        metrics.call(Some(&metrics.tool("read_file")), &ended("denied"));
        metrics.call(None, &ended("unknown_tool"));
        let text = metrics.text();
        for line in [
            "llmc_calls_total{tool=\"read_file\",outcome=\"ok\"} 2",
            "llmc_calls_total{tool=\"read_file\",outcome=\"denied\"} 1",
            "llmc_calls_total{tool=\"(unknown)\",outcome=\"unknown_tool\"} 1",
            "llmc_call_duration_seconds_count{tool=\"read_file\"} 3",
            "llmc_call_duration_seconds_bucket{le=\"0.005\",tool=\"read_file\"} 3",
            "llmc_call_duration_seconds_bucket{le=\"+Inf\",tool=\"read_file\"} 3",
            "llmc_call_arguments_bytes_total{tool=\"read_file\"} 30",
            "llmc_call_results_bytes_total{tool=\"read_file\"} 60",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
        assert!(!text.contains("duration_seconds_count{tool=\"(unknown)\"}"), "{text}");
    }

    /// Names of plugins are those of the configuration, which may be anything that TOML can write.
    #[test]
    fn a_label_cannot_end_its_line() {
        let metrics = Metrics::new();
        metrics.plugin(&"a\"} 1\nfake 2\\".into()).host_starts.inc();
        let text = metrics.text();
        assert!(!text.lines().any(|line| line.starts_with("fake")), "{text}");
        assert!(text.contains(r#"{plugin="a\"} 1\nfake 2\\"} 1"#), "{text}");
    }

    #[test]
    fn what_is_held_counts_until_it_is_dropped() {
        let metrics = Metrics::new();
        let held = (Held::of(&metrics.calls_running), Held::of(&metrics.calls_running));
        assert_eq!(metrics.calls_running.get(), 2);
        drop(held);
        assert_eq!(metrics.calls_running.get(), 0);
    }

    #[test]
    fn every_kind_of_error_has_a_series() {
        let metrics = Metrics::new();
        let tool = metrics.tool("t");
        OUTCOMES.iter().for_each(|outcome| metrics.call(Some(&tool), &ended(outcome)));
        assert!(tool.outcomes().all(|(_, count)| count == 1));
        assert_eq!(tool.outcomes().count(), OUTCOMES.len());
    }
}
