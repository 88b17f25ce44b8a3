//! Taking up another configuration while calls run: built beside the one that counts, checked as a whole, and put in its
//! place in one step. What it shares with the old one is kept with its processes; the rest of the old one ends once the
//! calls that began with it are over.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::{App, Begin, Built, Parts, Shown, build, record_configuration};
use crate::call::{CallPath, Generation, Schema};
use crate::config::Config;
use crate::files::Version;
use crate::hold::Hold;
use crate::lock::{Guard, lock_path};
use crate::plugin::Supervisor;
use crate::runner::Pool;
use crate::secret::Secrets;

/// A request that has just come may not have begun its call yet.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// How often to look whether calls are over.
const LOOK: Duration = Duration::from_millis(100);

/// What was replaced, and has calls that are not over.
struct Old {
    path: Arc<CallPath>,
    plugins: Vec<Arc<Supervisor>>,
    pool: Option<Arc<Pool>>,
}

impl App {
    /// Takes up a configuration, and tells whether anything is different now.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Everything goes on as it was.
    pub(crate) async fn reload(&mut self, mut config: Config) -> anyhow::Result<bool> {
        for key in self.leave_for_the_next_start(&mut config) {
            warn!("`{key}` changed; the server has to be started anew for that");
        }
        crate::http::check_reach(&config)?;
        let guard = Guard::open(&config)?;
        if self.is_locked && !guard.has_lock() {
            anyhow::bail!(
                "the lock beside the configuration is gone; write it with `llmc plugin lock`, or start the server anew \
                 to go on without one"
            );
        }
        let is_locked = guard.has_lock();
        let secrets = Arc::new(Secrets::read(&config)?);
        self.ground.audit.mask(&secrets);
        let mut parts = Parts::prepare(&config, secrets, &self.ground, Some(&self.parts)).await?;
        let generation = match self.next(&config, guard, &mut parts).await {
            Ok(Some(generation)) => generation,
            Ok(None) => return Ok(false),
            Err(error) => {
                end(parts.new_plugins(Some(&self.parts)), parts.new_pool(Some(&self.parts))).await;
                return Err(error);
            }
        };
        let old = Old {
            path: self.live.replace(generation).path,
            plugins: self.parts.new_plugins(Some(&parts)),
            pool: self.parts.new_pool(Some(&parts)),
        };
        info!(plugins = parts.supervisors().len(), replaced = old.plugins.len(), "configuration reloaded");
        record_configuration(&self.ground.audit, "reloaded", &config, None);
        tokio::spawn(old.retire());
        (self.parts, self.config, self.is_locked) = (parts, config, is_locked);
        Ok(true)
    }

    /// Builds what is to count next, all its processes ready; none if it is what counts already.
    async fn next(
        &mut self,
        config: &Config,
        guard: Guard,
        parts: &mut Parts,
    ) -> anyhow::Result<Option<Generation>> {
        let is_locked = guard.has_lock();
        let prepared = tokio::task::spawn_blocking(Schema::prepare);
        let before = Some(&self.parts);
        let begin = Begin { before, tool: None, hold: Hold::none() };
        let Built { registry, authority, stopped, starting } =
            build(config, guard, parts, prepared, self.live.path().seal(), begin).await?;
        if let Some(drift) = stopped.iter().find(|drift| self.parts.has(&drift.plugin)) {
            anyhow::bail!(
                "plugin `{}` would not be what the lock pins; look at it with `llmc plugin verify`, then accept it \
                 with `llmc plugin accept {0}`",
                drift.plugin
            );
        }
        starting.ready().await?;
        let is_same = *config == self.config
            && parts.new_plugins(before).is_empty()
            && self.parts.new_plugins(Some(parts)).is_empty()
            && Arc::ptr_eq(&parts.secrets, &self.parts.secrets);
        self.stopped = stopped;
        if is_same {
            return Ok(None);
        }
        let path =
            self.live.path().next(registry, authority, Arc::clone(&parts.secrets), config.limits.clone());
        let path = path.counting(config.telemetry.metrics);
        let shown = Shown::new(config, &self.stopped, is_locked);
        Ok(Some(parts.generation(path, shown)))
    }

    /// Takes over what cannot change while the server runs; tells what would have been different.
    fn leave_for_the_next_start(&self, config: &mut Config) -> Vec<&'static str> {
        let mut left = Vec::new();
        if config.server.http != self.config.server.http {
            config.server.http.clone_from(&self.config.server.http);
            left.push("server.http");
        }
        if config.audit != self.config.audit {
            config.audit.clone_from(&self.config.audit);
            left.push("audit");
        }
        if config.telemetry.otlp != self.config.telemetry.otlp {
            config.telemetry.otlp.clone_from(&self.config.telemetry.otlp);
            left.push("telemetry.otlp");
        }
        if config.server.state_key != self.config.server.state_key {
            config.server.state_key.clone_from(&self.config.server.state_key);
            left.push("server.state_key");
        }
        if config.server.shared_state != self.config.server.shared_state {
            config.server.shared_state.clone_from(&self.config.server.shared_state);
            left.push("server.shared_state");
        }
        if config.server.shared_state_password != self.config.server.shared_state_password {
            config.server.shared_state_password.clone_from(&self.config.server.shared_state_password);
            left.push("server.shared_state_password");
        }
        if config.server.shared_state_ca != self.config.server.shared_state_ca {
            config.server.shared_state_ca.clone_from(&self.config.server.shared_state_ca);
            left.push("server.shared_state_ca");
        }
        if config.limits.max_message_bytes != self.config.limits.max_message_bytes {
            config.limits.max_message_bytes = self.config.limits.max_message_bytes;
            left.push("limits.max_message_bytes");
        }
        left
    }

    /// Records why a configuration was not taken up.
    pub(crate) fn record_refusal(&self, reason: &str) {
        record_configuration(&self.ground.audit, "reload_refused", &self.config, Some(reason.to_owned()));
    }

    /// Files whose change asks for a reload: the configuration, its lock, libraries.
    ///
    /// Each with what it was when it was taken up, as far as that is known.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Option<Version>)> {
        let file = self.config.file.clone();
        let lock = file.as_deref().map(lock_path);
        let libraries = self.config.plugins.values();
        let libraries = libraries.filter_map(|plugin| self.ground.stage.plugin(&plugin.library).ok());
        let files = file.into_iter().chain(lock).chain(libraries);
        let with_version = |file: PathBuf| {
            let version = self.parts.version_of(&file).or_else(|| Version::at(&file));
            (file, version)
        };
        files.map(with_version).collect()
    }
}

impl Old {
    /// Waits for the calls that began here, at most as long as they may take, and ends the processes.
    async fn retire(self) {
        let until = Instant::now() + self.path.longest_call() + FIRST_LOOK;
        tokio::time::sleep(FIRST_LOOK).await;
        while self.path.is_busy() && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        end(self.plugins, self.pool).await;
    }
}

async fn end(plugins: Vec<Arc<Supervisor>>, pool: Option<Arc<Pool>>) {
    for plugin in plugins {
        plugin.end("a new configuration took its place").await;
    }
    if let Some(pool) = pool {
        pool.end().await;
    }
}
