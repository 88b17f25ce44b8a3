//! Plugins, jails and the runner, as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::{OnceCell, watch};

use super::series::Series;
use crate::app::Shown;
use crate::audit::now_ms;
use crate::call::{Generation, Live, Pending};
use crate::lock::{self, Drift, grant_lines};
use crate::stage::Stage;
use crate::telemetry::METRICS;

/// Where facts are found.
pub(crate) struct Facts {
    live: Live,
    stage: Stage,
    /// Whether all processes are up.
    ready: watch::Receiver<bool>,
    /// What the runner found of the kernel, asked once.
    layers: OnceCell<Value>,
}

impl Facts {
    pub(crate) fn new(live: Live, stage: Stage, ready: watch::Receiver<bool>) -> Self {
        Self { live, stage, ready, layers: OnceCell::new() }
    }

    /// The configuration that counts now.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        self.live.now().shown
    }

    /// Calls that wait for an operator.
    pub(crate) fn pending(&self) -> Arc<Pending> {
        Arc::clone(self.live.path().pending())
    }

    /// A text without secrets.
    pub(crate) fn mask(&self, text: String) -> String {
        self.live.path().mask(text)
    }

    /// What changes from moment to moment.
    pub(crate) fn state(&self, series: &Series) -> Value {
        let (totals, path) = (METRICS.totals(), self.live.path());
        let tools: Vec<Value> = path.registry.entries().filter_map(|entry| {
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
            "ready": *self.ready.borrow(),
            "ok": totals.ok,
            "refused": totals.refused,
            "failed": totals.failed,
            "pending": path.pending().count(),
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
        let now = self.live.now();
        let (config, pool) = (&now.shown.config, &now.pool);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "config": config.file,
            "plugins": plugins(&now),
            "runner": pool.as_ref().and_then(|pool| pool.hello()),
            "limits": {
                "concurrent_runs": config.limits.concurrent_runs,
                "detached_runs": config.limits.detached_runs,
                "parked_runs": config.limits.parked_runs,
            },
            "layers": self.layers().await,
        })
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

fn plugins(now: &Generation) -> Vec<Value> {
    let Shown { config, stopped, is_locked, .. } = &*now.shown;
    let mut plugins = Vec::new();
    for (name, configured) in &config.plugins {
        let drift = stopped.iter().find(|drift| drift.plugin == *name);
        let tools: Vec<_> = now.path.registry.entries().filter(|entry| entry.owner() == name).collect();
        let supervisor = now.plugins.iter().find(|plugin| **plugin.name() == **name);
        let live = supervisor.and_then(|supervisor| supervisor.live());
        let report = supervisor.and_then(|supervisor| supervisor.report());
        let health = match (&drift, supervisor) {
            (Some(_), _) => "stopped",
            (None, Some(_)) if live.is_some() => "running",
            // It is started for the next call.
            (None, Some(_)) => "waiting",
            (None, None) => "not started",
        };
        let pinned = match drift {
            Some(drift) if drift.is_new => "not in the lock",
            Some(_) => "drifted",
            None if *is_locked => "as locked",
            None => "no lock",
        };
        let of_report = |key: &str| report.as_ref().map(|report| report[key].clone());
        plugins.push(json!({
            "name": name,
            "library": configured.library,
            "sha256": supervisor.and_then(|supervisor| supervisor.library.sha256()),
            "health": health,
            "pid": live.map(|live| live.process_id()),
            "counts": METRICS.plugin_counts(name),
            "lock": pinned,
            "drift": drift.map(Drift::differences),
            "tools": tools.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
            "grants": grant_lines(&lock::grants(config, configured)),
            "isolation": of_report("isolation"),
            "layers": of_report("layers"),
        }));
    }
    plugins
}
