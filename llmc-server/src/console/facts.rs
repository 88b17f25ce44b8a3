//! Plugins, jails and the runner, as they are.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use super::series::Series;
use crate::app::Processes;
use crate::audit::now_ms;
use crate::call::CallPath;
use crate::config::Config;
use crate::lock::{self, Drift, grant_lines};
use crate::stage::Stage;
use crate::telemetry::METRICS;

/// What is known since the start.
pub(crate) struct Facts {
    config: Config,
    stage: Stage,
    path: Arc<CallPath>,
    stopped: Vec<Drift>,
    has_lock: bool,
    /// Once all of them are up.
    processes: OnceLock<Processes>,
    /// What the runner found of the kernel, asked once.
    layers: OnceCell<Value>,
}

impl Facts {
    pub(crate) fn new(config: Config, stage: Stage, path: Arc<CallPath>, stopped: Vec<Drift>) -> Self {
        let has_lock = config.file.as_deref().is_some_and(|file| lock::lock_path(file).exists());
        let (processes, layers) = (OnceLock::new(), OnceCell::new());
        Self { config, stage, path, stopped, has_lock, processes, layers }
    }

    /// Everything is up.
    pub(crate) fn set_processes(&self, processes: Processes) {
        // Once: they become ready once.
        let _ = self.processes.set(processes);
    }

    /// What changes from moment to moment.
    pub(crate) fn state(&self, series: &Series) -> Value {
        let totals = METRICS.totals();
        let tools: Vec<Value> = self.path.registry.entries().filter_map(|entry| {
            let outcomes: BTreeMap<&str, u64> = entry.metrics.outcomes().collect();
            let durations = entry.metrics.durations();
            let ms = |share| durations.quantile_us(share).map(|micros| micros as f64 / 1e3);
            (!outcomes.is_empty()).then(|| {
                json!({"name": entry.name, "plugin": entry.owner(), "outcomes": outcomes, "p50_ms": ms(0.5), "p95_ms": ms(0.95)})
            })
        }).collect();
        json!({
            "time_ms": now_ms(),
            "uptime_s": METRICS.uptime().as_secs(),
            "ready": self.processes.get().is_some(),
            "ok": totals.ok,
            "refused": totals.refused,
            "failed": totals.failed,
            "running": METRICS.calls_running.get(),
            "connections": METRICS.connections.get(),
            "auth_failures": METRICS.auth_failures_total(),
            "step_s": super::series::STEP.as_secs(),
            "points": series.points(),
            "tools": tools,
            "pool": METRICS.pool(),
        })
    }

    /// What rarely changes.
    pub(crate) async fn facts(&self) -> Value {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": self.config.file,
            "mode": self.config.server.mode,
            "read_only": self.config.policy.read_only,
            "audit": self.config.audit,
            "plugins": self.plugins(),
            "runner": self.processes.get().and_then(|processes| processes.runner.as_ref()),
            "limits": {
                "concurrent_runs": self.config.limits.concurrent_runs,
                "detached_runs": self.config.limits.detached_runs,
                "parked_runs": self.config.limits.parked_runs,
            },
            "layers": self.layers().await,
        })
    }

    fn plugins(&self) -> Vec<Value> {
        let mut plugins = Vec::new();
        for (name, configured) in &self.config.plugins {
            let drift = self.stopped.iter().find(|drift| drift.plugin == *name);
            let tools: Vec<_> = self.path.registry.entries().filter(|entry| entry.owner() == name).collect();
            let supervisor = tools.iter().find_map(|entry| entry.plugin());
            let live = supervisor.and_then(|supervisor| supervisor.live());
            let report = self.processes.get().and_then(|processes| processes.reports.get(name));
            let health = match (&drift, supervisor) {
                (Some(_), _) => "stopped",
                (None, Some(_)) if live.is_some() => "running",
                // It is started for the next call.
                (None, Some(_)) => "waiting",
                (None, None) => "without tools",
            };
            let lock = match drift {
                Some(drift) if drift.is_new => "not in the lock",
                Some(_) => "drifted",
                None if self.has_lock => "as locked",
                None => "no lock",
            };
            plugins.push(json!({
                "name": name,
                "library": configured.library,
                "sha256": supervisor.and_then(|supervisor| supervisor.library.sha256()),
                "health": health,
                "pid": live.map(|live| live.process_id()),
                "counts": METRICS.plugin_counts(name),
                "lock": lock,
                "drift": drift.map(Drift::differences),
                "tools": tools.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
                "grants": grant_lines(&lock::grants(&self.config, configured)),
                "isolation": report.map(|report| &report["isolation"]),
                "layers": report.map(|report| &report["layers"]),
                "gaps": report.map(|report| &report["gaps"]),
            }));
        }
        plugins
    }

    /// The layers of protection as `llmc doctor` finds them.
    async fn layers(&self) -> Value {
        let asked = self.layers.get_or_try_init(|| crate::cli::survey(&self.stage)).await;
        match asked {
            Ok(layers) => layers.clone(),
            Err(error) => Value::Object(Map::from_iter([("error".to_owned(), format!("{error:#}").into())])),
        }
    }
}
