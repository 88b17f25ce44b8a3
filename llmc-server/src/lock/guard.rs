//! Stops drifted plugins at start-up, before their hosts are started where the drift shows by then.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use tracing::error;

use super::{Drift, Lock, LockError, grants, lock_path, tools};
use crate::config::{self, Config};
use crate::plugin::Supervisor;

/// What is pinned, and which plugins were stopped for it.
pub(crate) struct Guard {
    /// The lock with its file; without one nothing is pinned.
    lock: Option<(PathBuf, Lock)>,
    /// Their tools, as far as they are known, by name.
    tools: BTreeMap<String, Arc<str>>,
    stopped: Vec<Drift>,
}

impl Guard {
    /// Reads the lock that lies beside the configuration.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is required and missing.
    pub(crate) fn open(config: &Config) -> Result<Self, LockError> {
        let file = config.file.as_deref().map(lock_path);
        let lock = match &file {
            Some(file) => Lock::read(file)?.map(|lock| (file.clone(), lock)),
            None => None,
        };
        if lock.is_none() && config.server.require_lock {
            let flag = config::flag(config.file.as_deref());
            return Err(file.map_or(LockError::NoConfiguration, |file| LockError::Missing { file, flag }));
        }
        Ok(Self { lock, tools: BTreeMap::new(), stopped: Vec::new() })
    }

    /// Whether anything is pinned.
    pub(crate) fn has_lock(&self) -> bool {
        self.lock.is_some()
    }

    /// Those plugins that may be started: library, grants, and tools as far as a manifest is known, are as pinned. A
    /// library that cannot be read is left to the start, which says so.
    pub(crate) async fn startable(
        &mut self,
        config: &Config,
        plugins: Vec<Arc<Supervisor>>,
    ) -> Vec<Arc<Supervisor>> {
        if self.lock.is_some() {
            plugins.iter().for_each(|plugin| plugin.library.begin_sealing());
        }
        let mut startable = Vec::new();
        for plugin in plugins {
            if self.lock.is_some()
                && let Ok(sealed) = plugin.library.sealed().await
            {
                let manifest = plugin.manifest();
                if self.stops(config, plugin.name(), manifest.as_ref(), &sealed.sha256) {
                    continue;
                }
            }
            startable.push(plugin);
        }
        startable
    }

    /// Whether the tools of a plugin that was startable are others than pinned; it must be ended then.
    pub(crate) fn stops_for_tools(&mut self, config: &Config, name: &Arc<str>, manifest: &Value) -> bool {
        let pin = self.lock.as_ref().and_then(|(_, lock)| lock.plugins.get(&**name));
        let sha256 = pin.map(|pin| pin.sha256.clone());
        sha256.is_some_and(|sha256| self.stops(config, name, Some(manifest), &sha256))
    }

    /// Plugins that were stopped, and why.
    pub(crate) fn stopped(self) -> (Vec<Drift>, BTreeMap<String, Arc<str>>) {
        (self.stopped, self.tools)
    }

    fn stops(&mut self, config: &Config, name: &Arc<str>, manifest: Option<&Value>, sha256: &str) -> bool {
        let configured = &config.plugins[&**name];
        let Some((file, lock)) = &self.lock else { return false };
        // A manifest that is none is refused by the registry, with a reason.
        let tools = manifest.and_then(|manifest| tools(manifest, configured.prefix.as_deref()).ok());
        let pin = lock.plugins.get(&**name);
        let drift = match pin {
            None => Some(Drift::unknown(name)),
            Some(pin) => Drift::of(name, pin, config, sha256, &grants(config, configured), tools.as_ref()),
        };
        let Some(drift) = drift else { return false };
        let flag = config::flag(config.file.as_deref());
        error!("{} stops a plugin: {}", file.display(), drift.told(&flag));
        let known =
            pin.into_iter().flat_map(|pin| pin.tools.keys()).chain(tools.iter().flat_map(BTreeMap::keys));
        self.tools.extend(known.map(|tool| (tool.clone(), Arc::clone(name))));
        self.stopped.push(drift);
        true
    }
}
