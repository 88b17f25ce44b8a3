//! What a configuration is made of before anything runs: roots, secrets, a supervisor for each plugin, a place for the
//! runner. Parts of the configuration before that are the same are kept, with their processes.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use llmc_wire::host::{HostLimits, Init, InitRoot};
use rustix::fs::fstat;

use super::Shown;
use crate::audit::Audit;
use crate::call::{CallPath, Generation, Hub};
use crate::config::{Config, ConfigError, Flags, Grants, Plugin, Program};
use crate::files::Version;
use crate::plugin::connection::Settings;
use crate::plugin::library::Library;
use crate::plugin::signature::Trust;
use crate::plugin::spawn::Spawner;
use crate::plugin::{Services, Supervisor};
use crate::roots::{self, Root, Roots};
use crate::runner::{Grant, Link, Pool, Runs};
use crate::secret::Secrets;
use crate::stage::Stage;
use crate::state;

/// What no configuration changes.
pub(super) struct Ground {
    pub(super) stage: Stage,
    pub(super) audit: Audit,
    spawner: Spawner,
}

impl Ground {
    pub(super) fn new(flags: &Flags, audit: Audit) -> anyhow::Result<Self> {
        let stage = Stage::find(flags.stage.as_deref())?;
        let spawner = Spawner::new().context("failed to start the thread that starts programs")?;
        Ok(Self { stage, audit, spawner })
    }
}

/// A configuration as far as the next one may want to keep it.
pub(super) struct Parts {
    pub(super) secrets: Arc<Secrets>,
    instructions: Arc<str>,
    pool: Option<Arc<Pool>>,
    plugins: Vec<Part>,
}

struct Part {
    print: Print,
    supervisor: Arc<Supervisor>,
}

/// Everything that a host and what it may ask for depend on, but for secrets and the bytes of its library.
#[derive(PartialEq)]
struct Print {
    init: Init,
    /// Device and number of the directories that it is handed.
    directories: Vec<(u64, u64)>,
    expected: Option<String>,
    /// Whose signatures count, and whether there has to be one.
    trusted: (BTreeMap<String, String>, bool),
    grants: Grants,
    /// Settings of programs, where it may run any.
    programs: Option<BTreeMap<String, Program>>,
    times_ms: [u64; 3],
    log_lines_per_second: u32,
}

/// A plugin on its way to a supervisor.
struct Draft {
    print: Print,
    directories: Vec<OwnedFd>,
    library: PathBuf,
}

impl Parts {
    /// Opens and reads what the configuration names; starts nothing.
    ///
    /// # Errors
    ///
    /// What of it cannot be had.
    pub(super) async fn prepare(
        config: &Config,
        secrets: Arc<Secrets>,
        ground: &Ground,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let program = ground.stage.host()?;
        let roots = roots::open_all(config)?;
        let grants = run_grants(config, &roots)?;
        let known = before.map(|before| &before.secrets).filter(|known| known.is_same(&secrets));
        // Secrets are masked in what processes log: other secrets, other processes.
        let before = before.filter(|_| known.is_some());
        let secrets = known.map_or(secrets, Arc::clone);
        let pool = pool(config, ground, &grants, &secrets, before)?;
        let patience = Duration::from_millis(config.limits.queue_timeout_ms);
        let runs = pool
            .as_ref()
            .map(|pool| Arc::new(Runs::new(Arc::clone(pool), grants, config.grants(), patience)));
        let hub = Arc::new(Hub::new(config, Arc::clone(&secrets), runs, ground.audit.clone()));
        let mut parts = Self {
            secrets,
            instructions: super::instructions(&roots, &config.server.mode).into(),
            pool,
            plugins: Vec::new(),
        };

        let trust = Trust::of(config).map_err(ConfigError::Invalid)?;
        let mut drafts = Vec::new();
        for (name, plugin) in &config.plugins {
            let draft = Draft::new(config, name, plugin, ground, &roots)?;
            let known = parts.known(&draft, before);
            let unread = known.is_some_and(|part| {
                part.supervisor.library.version.is_some()
                    && part.supervisor.library.version == Version::at(&draft.library)
            });
            // Where libraries are compared they are read side by side.
            let library = match unread {
                true => None,
                false => Some(Library::open(&draft.library, plugin.sha256.as_deref(), &trust)?),
            };
            if let (Some(library), Some(_)) = (&library, known) {
                library.begin_sealing();
            }
            drafts.push((draft, library));
        }
        for (draft, library) in drafts {
            let known = parts.known(&draft, before);
            let is_same = match (&library, known) {
                (None, Some(_)) => true,
                (Some(library), Some(part)) => {
                    library.sealed().await?.sha256 == part.supervisor.library.sealed().await?.sha256
                }
                (_, None) => false,
            };
            let part = match (library, known) {
                (_, Some(part)) if is_same => {
                    Part { print: draft.print, supervisor: Arc::clone(&part.supervisor) }
                }
                (Some(library), _) => draft.part(config, ground, library, &program, &parts.secrets, &hub),
                (None, _) => anyhow::bail!("a library was neither kept nor read"),
            };
            parts.plugins.push(part);
        }
        Ok(parts)
    }

    /// What `before` has of this plugin, if everything but the library is the same.
    fn known<'a>(&self, draft: &Draft, before: Option<&'a Self>) -> Option<&'a Part> {
        let before = before?;
        let has_its_runner = draft.print.grants.run.is_none() || self.has_pool_of(before);
        before.plugins.iter().find(|part| has_its_runner && part.print == draft.print)
    }

    fn has_pool_of(&self, before: &Self) -> bool {
        match (&self.pool, &before.pool) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        }
    }

    /// With a path that leads to them.
    pub(super) fn generation(&self, path: CallPath, shown: Arc<Shown>) -> Generation {
        Generation {
            path: Arc::new(path),
            plugins: self.supervisors().into(),
            pool: self.pool.clone(),
            instructions: Arc::clone(&self.instructions),
            shown,
        }
    }

    pub(super) fn supervisors(&self) -> Vec<Arc<Supervisor>> {
        self.plugins.iter().map(|part| Arc::clone(&part.supervisor)).collect()
    }

    /// Supervisors that `other` does not have.
    pub(super) fn new_plugins(&self, other: Option<&Self>) -> Vec<Arc<Supervisor>> {
        let has = |plugin: &Arc<Supervisor>| {
            other.is_some_and(|other| other.plugins.iter().any(|part| Arc::ptr_eq(&part.supervisor, plugin)))
        };
        self.supervisors().into_iter().filter(|plugin| !has(plugin)).collect()
    }

    /// The runner, if `other` does not have it.
    pub(super) fn new_pool(&self, other: Option<&Self>) -> Option<Arc<Pool>> {
        self.pool.clone().filter(|_| !other.is_some_and(|other| self.has_pool_of(other)))
    }

    pub(super) fn keep_only(&mut self, plugins: &[Arc<Supervisor>]) {
        self.plugins.retain(|part| plugins.iter().any(|plugin| Arc::ptr_eq(plugin, &part.supervisor)));
    }

    pub(super) fn leave_out(&mut self, plugins: &[Arc<Supervisor>]) {
        self.plugins.retain(|part| !plugins.iter().any(|plugin| Arc::ptr_eq(plugin, &part.supervisor)));
    }

    /// What the file of a library was when it was read.
    pub(super) fn version_of(&self, file: &Path) -> Option<Version> {
        let mut libraries = self.plugins.iter().map(|part| &part.supervisor.library);
        libraries.find(|library| library.path == *file).and_then(|library| library.version.clone())
    }

    /// Whether a plugin of this name is among them.
    pub(super) fn has(&self, plugin: &str) -> bool {
        self.plugins.iter().any(|part| &**part.supervisor.name() == plugin)
    }
}

impl Draft {
    fn new(
        config: &Config,
        name: &str,
        plugin: &Plugin,
        ground: &Ground,
        roots: &Roots,
    ) -> anyhow::Result<Self> {
        let library = ground.stage.plugin(&plugin.library)?;
        let granted = roots::granted(roots, &plugin.grants.roots);
        let mut directories = copies(&granted)?;
        if plugin.grants.state {
            directories.push(state::open(config, name, &granted, roots)?);
        }
        let limits = &config.limits;
        let print = Print {
            init: init(config, name, plugin, library.clone(), &granted),
            directories: directories.iter().map(place).collect::<std::io::Result<_>>()?,
            expected: plugin.sha256.clone(),
            trusted: (config.trusted_keys.clone(), config.server.require_signature),
            grants: plugin.grants.clone(),
            programs: plugin.grants.run.as_ref().map(|_| config.programs.clone()),
            times_ms: [limits.grace_ms, limits.load_timeout_ms, limits.queue_timeout_ms],
            log_lines_per_second: limits.plugin_log_lines_per_second,
        };
        Ok(Self { print, directories, library })
    }

    fn part(
        self,
        config: &Config,
        ground: &Ground,
        library: Library,
        program: &Path,
        secrets: &Arc<Secrets>,
        hub: &Arc<Hub>,
    ) -> Part {
        let limits = &config.limits;
        let settings = Settings {
            plugin: self.print.init.plugin.as_str().into(),
            audit: ground.audit.clone(),
            services: Arc::new(Arc::clone(hub)) as Arc<dyn Services>,
            secrets: Arc::clone(secrets),
            max_result_bytes: limits.max_result_bytes,
            grace: Duration::from_millis(limits.grace_ms),
            log_lines_per_second: limits.plugin_log_lines_per_second,
        };
        let supervisor = Supervisor::new(
            self.print.init.clone(),
            library,
            self.directories,
            program.to_owned(),
            ground.spawner.clone(),
            settings,
            Duration::from_millis(limits.load_timeout_ms),
        );
        Part { print: self.print, supervisor: Arc::new(supervisor) }
    }
}

fn place(directory: &OwnedFd) -> std::io::Result<(u64, u64)> {
    let stat = fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The runner that the configuration asks for; that of `before` if it will do. None where nothing may run.
fn pool(
    config: &Config,
    ground: &Ground,
    grants: &BTreeMap<String, Grant>,
    secrets: &Arc<Secrets>,
    before: Option<&Parts>,
) -> anyhow::Result<Option<Arc<Pool>>> {
    if grants.is_empty() {
        return Ok(None);
    }
    let limits = &config.limits;
    let init = llmc_wire::runner::Init {
        server_pid: std::process::id(),
        max_jails: limits.concurrent_runs + limits.detached_runs,
        min_isolation: config.server.min_isolation.into(),
        parked_runs: limits.parked_runs,
        runs_code: grants.values().any(Grant::runs_code),
        zygote: llmc_wire::runner::ZygoteBounds::default(),
    };
    let known = before.and_then(|before| before.pool.clone()).filter(|pool| pool.serves(&init, limits));
    if let Some(pool) = known {
        return Ok(Some(pool));
    }
    let (program, secrets, audit) = (ground.stage.runner()?, Arc::clone(secrets), ground.audit.clone());
    let link = Link::new(program, ground.spawner.clone(), init, secrets, audit);
    Ok(Some(Arc::new(Pool::new(link, limits))))
}

/// What each plugin may run.
fn run_grants(config: &Config, roots: &Roots) -> anyhow::Result<BTreeMap<String, Grant>> {
    let mut grants = BTreeMap::new();
    for (name, plugin) in &config.plugins {
        if let Some(run) = &plugin.grants.run {
            let roots = roots::granted(roots, &plugin.grants.roots);
            grants.insert(name.clone(), Grant::new(name, run, &plugin.grants, &roots, &config.programs)?);
        }
    }
    Ok(grants)
}

/// The policy of one host.
fn init(config: &Config, name: &str, plugin: &Plugin, library: PathBuf, roots: &[(&Root, bool)]) -> Init {
    let limits = &config.limits;
    Init {
        plugin: name.to_owned(),
        library,
        server_pid: std::process::id(),
        roots: roots
            .iter()
            .map(|(root, writable)| InitRoot {
                name: root.name.clone(),
                path: root.path.clone(),
                writable: *writable,
            })
            .collect(),
        state: plugin.grants.state,
        protected_paths: config.policy.protected_paths.clone(),
        limits: HostLimits {
            memory_bytes: limits.host_memory_bytes,
            file_bytes: limits.host_file_bytes,
            open_files: limits.host_open_files,
            workers: limits.workers_per_plugin,
            call_depth: limits.call_depth,
        },
        config: plugin.config.clone().unwrap_or_default(),
        max_result_bytes: limits.max_result_bytes as u64,
        require_namespaces: config.server.require_namespaces,
    }
}

fn copies(roots: &[(&Root, bool)]) -> std::io::Result<Vec<OwnedFd>> {
    roots.iter().map(|(root, _)| root.as_fd().try_clone_to_owned()).collect()
}
