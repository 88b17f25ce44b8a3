//! Putting the parts together: configuration in, call path out.
//!
//! Everything that can be wrong is found here, and ends the server: a missing root, another digest, a
//! plugin that does not load, two tools of one name, a layer that the kernel lacks.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use llmc_wire::host::{HostLimits, Init, InitRoot, Ready};
use llmc_wire::runner::{Hello, Isolation};
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::audit::Audit;
use crate::call::{Authority, CallPath, Caller, EXECUTE_CODE, Hub, Registry, Schema};
use crate::config::{Config, Flags, Mode, NamedMode, Plugin};
use crate::lock::{Drift, Guard};
use crate::plugin::connection::Settings;
use crate::plugin::library::Library;
use crate::plugin::manifest::ManifestFile;
use crate::plugin::spawn::Spawner;
use crate::plugin::supervisor::Unavailable;
use crate::plugin::{Services, Supervisor};
use crate::roots::{self, Root, Roots};
use crate::runner::{Grant, Link, Runs};
use crate::secret::Secrets;
use crate::stage::Stage;
use crate::state;
use crate::telemetry::otlp;

/// A server that answers clients.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) path: Arc<CallPath>,
    /// What the model is told about this server.
    pub(crate) instructions: String,
    /// Plugins that are not what the lock pins, and were not started.
    pub(crate) stopped: Vec<Drift>,
    processes: JoinHandle<anyhow::Result<Processes>>,
}

/// Hosts and runner, all of them jailed and ready.
pub(crate) struct Processes {
    /// What each plugin host's jail reported, by plugin.
    pub(crate) reports: BTreeMap<String, Value>,
    /// What the runner can do, if anything may run.
    pub(crate) runner: Option<Hello>,
}

impl App {
    /// Waits until all processes are ready.
    ///
    /// # Errors
    ///
    /// Why one of them is not. The server must not go on then.
    pub(crate) async fn processes(&mut self) -> anyhow::Result<Processes> {
        (&mut self.processes).await?
    }
}

/// Starts everything that the configuration names. Where manifests are known, the hosts may still be loading when
/// this returns; calls wait for them.
///
/// # Errors
///
/// What is wrong and what to do about it; nothing is left running.
pub(crate) async fn start(config: Config, flags: &Flags) -> anyhow::Result<App> {
    let stage = Stage::find(flags.stage.as_deref())?;
    let mut guard = Guard::open(&config)?;
    let roots = roots::open_all(&config)?;
    let secrets = Arc::new(Secrets::read(&config)?);
    let audit = Audit::open(&config.audit)?;
    let spans = config.telemetry.otlp.as_deref().map(otlp::start).transpose()?;
    let spawner = Spawner::new().context("failed to start the thread that starts programs")?;

    let grants = run_grants(&config, &roots)?;
    let link = match grants.is_empty() {
        true => None,
        false => {
            let init = llmc_wire::runner::Init {
                server_pid: std::process::id(),
                max_jails: config.limits.concurrent_runs + config.limits.detached_runs,
                min_isolation: config.server.min_isolation.into(),
                parked_runs: config.limits.parked_runs,
                runs_code: grants.values().any(Grant::runs_code),
            };
            Some(Arc::new(Link::new(stage.runner()?, spawner.clone(), init)))
        }
    };
    let runs = link
        .as_ref()
        .map(|link| Arc::new(Runs::new(Arc::clone(link), grants, config.grants(), &config.limits)));
    let hub = Arc::new(Hub::new(&config, Arc::clone(&secrets), runs));

    let prepared = tokio::task::spawn_blocking(Schema::prepare);
    let plugins = supervisors(&config, &stage, &roots, &secrets, &hub, &spawner)?;
    for plugin in &plugins {
        plugin.believe_installed_manifest().await?;
    }
    let plugins = guard.startable(&config, plugins).await;
    let mut hosts = Hosts::begin(&plugins);
    let runner = link.map(|link| link.begin());
    prepared.await?;

    let mut registry = Registry::new()?;
    if config.telemetry.get_metrics {
        registry.add_metrics()?;
    }
    for plugin in &plugins {
        let manifest = match plugin.manifest() {
            Some(manifest) => manifest,
            None => hosts.ready(plugin.name()).await?.manifest,
        };
        let config_of = &config.plugins[&**plugin.name()];
        if guard.stops_for_tools(&config, plugin.name(), &manifest) {
            hosts.end(plugin).await;
            continue;
        }
        registry.add(plugin, manifest, config_of, config.limits.workers_per_plugin)?;
    }
    let (stopped, tools) = guard.stopped();
    registry.stopped = tools;
    check_names(&config, &registry)?;
    let authority = Authority::new(&config, registry.code_plugin());
    check_code_mode(&config, &registry, &authority)?;
    let instructions = instructions(&roots, &config.server.mode);
    let path = CallPath::new(registry, authority, secrets, audit, config.limits.clone());
    let path = Arc::new(path.with_telemetry(config.telemetry.metrics, spans));
    hub.connect(&path);
    let processes = tokio::spawn(async move {
        let reports = hosts.reports().await?;
        let runner = match runner {
            Some(runner) => Some(checked(runner.await?)?),
            None => None,
        };
        info!(plugins = reports.len(), "ready");
        Ok(Processes { reports, runner })
    });
    Ok(App { config, path, instructions, stopped, processes })
}

/// Loads one library in a host without any grant, and returns what it says of itself.
///
/// # Errors
///
/// Why it cannot be loaded.
pub(crate) async fn manifest(library: &str, flags: &Flags) -> anyhow::Result<ManifestFile> {
    let mut config = Config::default();
    config.plugins.insert("plugin".into(), Plugin { library: library.to_owned(), ..Plugin::default() });
    let stage = Stage::find(flags.stage.as_deref())?;
    let secrets = Arc::new(Secrets::read(&config)?);
    let spawner = Spawner::new().context("failed to start the thread that starts programs")?;
    let hub = Arc::new(Hub::new(&config, Arc::clone(&secrets), None));
    let plugins = supervisors(&config, &stage, &Roots::new(), &secrets, &hub, &spawner)?;
    let plugin = plugins.first().context("one plugin is configured")?;
    let Ready { manifest, .. } = plugin.begin().await??;
    let (sha256, bytes) = (plugin.library.sealed().await?.sha256.clone(), plugin.library.bytes);
    Ok(ManifestFile { sha256, bytes, manifest })
}

/// First starts of hosts under way, by plugin, and what came of those that are over.
struct Hosts {
    starting: BTreeMap<Arc<str>, JoinHandle<Result<Ready, Unavailable>>>,
    reports: BTreeMap<String, Value>,
}

impl Hosts {
    /// All hosts at the same time.
    fn begin(plugins: &[Arc<Supervisor>]) -> Self {
        let starting = plugins.iter().map(|plugin| (Arc::clone(plugin.name()), plugin.begin())).collect();
        Self { starting, reports: BTreeMap::new() }
    }

    /// Waits for one.
    async fn ready(&mut self, plugin: &Arc<str>) -> anyhow::Result<Ready> {
        let starting = self.starting.remove(plugin).context("a host is started once")?;
        let ready = starting.await??;
        self.reports.insert(plugin.to_string(), ready.report.clone());
        Ok(ready)
    }

    /// Ends one that is not to be used.
    async fn end(&mut self, plugin: &Supervisor) {
        if let Some(starting) = self.starting.remove(plugin.name()) {
            // Whether it became ready no longer matters.
            let _ = starting.await;
        }
        self.reports.remove(&**plugin.name());
        if let Some(host) = plugin.live() {
            host.kill("its tools are not what the lock pins");
        }
    }

    /// Waits for all; the first error ends the start.
    async fn reports(mut self) -> anyhow::Result<BTreeMap<String, Value>> {
        let names: Vec<Arc<str>> = self.starting.keys().cloned().collect();
        for name in names {
            self.ready(&name).await?;
        }
        Ok(self.reports)
    }
}

/// Every tool that a restriction names must exist: a misspelt one restricts nothing.
fn check_names(config: &Config, registry: &Registry) -> anyhow::Result<()> {
    let listed = match &config.server.mode {
        Mode::Listed(tools) => tools.as_slice(),
        Mode::Named(_) => &[],
    };
    let problem = |place: &str, name: &str| {
        let nearest =
            registry.nearest(name).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        format!("{place}: there is no tool `{name}`{nearest}")
    };
    let unknown = |names: &[String]| names.iter().find(|name| !registry.knows(name)).cloned();
    for (place, names) in [("policy.deny", &config.policy.deny[..]), ("server.mode", listed)] {
        if let Some(name) = unknown(names) {
            anyhow::bail!(problem(place, &name));
        }
    }
    for (plugin, granted) in &config.plugins {
        if let Some(name) = unknown(&granted.grants.tools) {
            warn!("{}", problem(&format!("[plugins.{plugin}] grants.tools"), &name));
        }
    }
    Ok(())
}

/// In code mode everything goes through one tool; without it a client could hardly do anything.
fn check_code_mode(config: &Config, registry: &Registry, authority: &Authority) -> anyhow::Result<()> {
    if config.server.mode != Mode::Named(NamedMode::Code) {
        return Ok(());
    }
    if let Some(plugin) = registry.stopped.get(EXECUTE_CODE) {
        anyhow::bail!(
            "server.mode = \"code\" needs the tool `{EXECUTE_CODE}`, and plugin `{plugin}` is not what the lock pins; \
             look at `llmc plugin verify`, then accept it with `llmc plugin accept {plugin}`"
        );
    }
    let Some(entry) = registry.get(EXECUTE_CODE) else {
        anyhow::bail!(
            "server.mode = \"code\" needs the tool `{EXECUTE_CODE}`: add `[plugins.exec] library = \"llmc_tools_exec\"` \
             without a `prefix`, or choose another mode"
        );
    };
    authority.allows(&Caller::Client, entry).map_err(|refused| {
        anyhow::anyhow!("server.mode = \"code\" needs the tool `{EXECUTE_CODE}`: {refused}")
    })
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

/// One supervisor per plugin; the libraries are read and sealed side by side, and hosts wait for that.
fn supervisors(
    config: &Config,
    stage: &Stage,
    roots: &Roots,
    secrets: &Arc<Secrets>,
    hub: &Arc<Hub>,
    spawner: &Spawner,
) -> anyhow::Result<Vec<Arc<Supervisor>>> {
    let program = stage.host()?;
    let mut libraries = Vec::new();
    for plugin in config.plugins.values() {
        let (file, digest) = (stage.plugin(&plugin.library)?, plugin.sha256.clone());
        libraries.push(Library::begin(&file, digest.as_deref())?);
    }
    let mut supervisors = Vec::new();
    for ((name, plugin), library) in config.plugins.iter().zip(libraries) {
        let granted = roots::granted(roots, &plugin.grants.roots);
        let settings = Settings {
            plugin: name.as_str().into(),
            services: Arc::new(Arc::clone(hub)) as Arc<dyn Services>,
            secrets: Arc::clone(secrets),
            max_result_bytes: config.limits.max_result_bytes,
            grace: Duration::from_millis(config.limits.grace_ms),
            log_lines_per_second: config.limits.plugin_log_lines_per_second,
        };
        let mut directories = copies(&granted)?;
        if plugin.grants.state {
            directories.push(state::open(config, name, &granted, roots)?);
        }
        supervisors.push(Arc::new(Supervisor::new(
            init(config, name, plugin, &library, &granted),
            library,
            directories,
            program.clone(),
            spawner.clone(),
            settings,
            Duration::from_millis(config.limits.load_timeout_ms),
        )));
    }
    Ok(supervisors)
}

/// The policy of one host.
fn init(config: &Config, name: &str, plugin: &Plugin, library: &Library, roots: &[(&Root, bool)]) -> Init {
    let limits = &config.limits;
    Init {
        plugin: name.to_owned(),
        library: library.path.clone(),
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
        },
        config: plugin.config.clone().unwrap_or_default(),
        max_result_bytes: limits.max_result_bytes as u64,
        require_namespaces: config.server.require_namespaces,
    }
}

fn copies(roots: &[(&Root, bool)]) -> std::io::Result<Vec<OwnedFd>> {
    roots.iter().map(|(root, _)| root.as_fd().try_clone_to_owned()).collect()
}

/// Without jails there is no server: programs are never run outside one.
fn checked(hello: Result<Hello, String>) -> anyhow::Result<Hello> {
    let hello = hello.map_err(anyhow::Error::msg)?;
    if let Err(refused) = &hello.jails {
        anyhow::bail!(
            "plugins are granted `run`, but no jail can be made here: layer `{}`: {}; `llmc doctor` tells more, or \
             remove the `run` grants{}",
            refused.layer,
            refused.message,
            match refused.layer.as_str() {
                "user namespace" | "mount namespace" | "root" | "proc" =>
                    ", or read in SECURITY.md what `server.min_isolation = \"landlock\"` gives up",
                _ => "",
            }
        );
    }
    if hello.jails == Ok(Isolation::Landlock) {
        warn!(
            "no user namespaces here: code runs behind Landlock and seccomp alone (`server.min_isolation`), commands \
             are refused; `llmc doctor` tells more"
        );
    }
    debug!(pid = hello.pid, identity = hello.payload_identity, "runner is ready");
    Ok(hello)
}

/// Short, because every client pays for it in tokens.
fn instructions(roots: &Roots, mode: &Mode) -> String {
    let listed: Vec<String> = roots
        .values()
        .map(|root| {
            let access = if root.writable { "read and write" } else { "read" };
            format!("`{}` = {} ({access})", root.name, root.path.display())
        })
        .collect();
    let roots = match listed.is_empty() {
        true => "No directory is granted.".to_owned(),
        false => format!("Granted directories: {}.", listed.join(", ")),
    };
    let code = match mode {
        Mode::Named(NamedMode::Code) => {
            " Most tools are called from code: find them with `search_tools`, then `execute_code` with \
             `from llmc import tools`, `tools.NAME(...)`; return only what you need."
        }
        _ => "",
    };
    format!(
        "{roots} Paths are written `root:relative/path`. Whatever is not granted is refused, with what to ask the operator for.{code}"
    )
}
