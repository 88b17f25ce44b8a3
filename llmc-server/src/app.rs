//! Putting the parts together: configuration in, call path out.
//!
//! Everything that can be wrong is found here, and ends the server: a missing root, another digest, a
//! plugin that does not load, two tools of one name, a layer that the kernel lacks. A later configuration goes the same
//! way ([`reload`]); what is wrong with it leaves the server with the one that it has.

mod parts;
mod reload;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use llmc_wire::host::Ready;
use llmc_wire::runner::{Hello, Isolation};
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::audit::{self, Audit};
use crate::call::{Authority, CallPath, Caller, Common, EXECUTE_CODE, Live, Registry, Schema, Seal};
use crate::config::{self, Config, Flags, Mode, NamedMode, Plugin};
use crate::hold::Hold;
use crate::lock::{Drift, Guard};
use crate::plugin::Supervisor;
use crate::plugin::manifest::ManifestFile;
use crate::plugin::supervisor::Unavailable;
use crate::roots::Roots;
use crate::secret::Secrets;
use crate::stage::Stage;
use crate::telemetry::otlp;
use parts::{Ground, Parts};

/// A server that answers clients.
pub(crate) struct App {
    pub(crate) config: Config,
    /// The call path that counts now.
    pub(crate) live: Live,
    /// Plugins that are not what the lock pins, and were not started.
    pub(crate) stopped: Vec<Drift>,
    processes: JoinHandle<anyhow::Result<Processes>>,
    /// Until when the processes are not started.
    pub(crate) hold: Hold,
    /// Plugins are pinned.
    is_locked: bool,
    ground: Ground,
    parts: Parts,
}

/// What a configuration is, for who looks.
pub(crate) struct Shown {
    pub(crate) config: Config,
    /// Plugins that are not what the lock pins, and were not started.
    pub(crate) stopped: Vec<Drift>,
    /// Plugins are pinned.
    pub(crate) is_locked: bool,
}

impl Shown {
    fn new(config: &Config, stopped: &[Drift], is_locked: bool) -> Arc<Self> {
        Arc::new(Self { config: config.clone(), stopped: stopped.to_vec(), is_locked })
    }
}

/// Hosts and runner, all of them jailed and ready.
pub(crate) struct Processes {
    /// What each plugin host's jail reported, by plugin.
    pub(crate) reports: BTreeMap<String, Value>,
    /// What the runner can do, if anything may run.
    pub(crate) runner: Option<Hello>,
}

/// Processes of a configuration that were started for it and are not all ready.
struct Starting {
    hosts: Hosts,
    runner: Option<JoinHandle<Result<Hello, String>>>,
}

/// Which processes are begun for a configuration, and when.
struct Begin<'a> {
    /// What has its processes already.
    before: Option<&'a Parts>,
    /// Only those that this tool needs.
    tool: Option<&'a str>,
    hold: Hold,
}

/// What became of a configuration.
struct Built {
    registry: Registry,
    authority: Authority,
    stopped: Vec<Drift>,
    starting: Starting,
}

impl App {
    /// Starts all processes, if they are still held back, and waits until they are ready.
    ///
    /// # Errors
    ///
    /// Why one of them is not. The server must not go on then.
    pub(crate) async fn processes(&mut self) -> anyhow::Result<Processes> {
        self.hold.release();
        self.started().await
    }

    /// Like [`App::processes`], once somebody else releases the hold.
    ///
    /// # Errors
    ///
    /// As for `processes`.
    pub(crate) async fn started(&mut self) -> anyhow::Result<Processes> {
        (&mut self.processes).await?
    }

    /// Where the other programs are.
    pub(crate) fn stage(&self) -> Stage {
        self.ground.stage.clone()
    }

    /// The call path that counts now.
    pub(crate) fn path(&self) -> Arc<CallPath> {
        self.live.path()
    }
}

/// Starts everything that the configuration names. Where manifests are known, the hosts may still be loading when
/// this returns; calls wait for them.
///
/// # Errors
///
/// What is wrong and what to do about it; nothing is left running.
pub(crate) async fn start(config: Config, flags: &Flags) -> anyhow::Result<App> {
    start_for(config, flags, None).await
}

/// Like [`start`], for one call of a tool if one is named: of the processes only those that its plugin's grants lead to
/// are started now. Any other host, and the runner, is started by the call that needs it; what is missing then refuses
/// that call instead of the start.
///
/// # Errors
///
/// As for `start`.
pub(crate) async fn start_for(config: Config, flags: &Flags, tool: Option<&str>) -> anyhow::Result<App> {
    let guard = Guard::open(&config)?;
    let is_locked = guard.has_lock();
    let spans = config.telemetry.otlp.as_deref().map(otlp::start).transpose()?;
    let secrets = Arc::new(Secrets::read(&config)?);
    if let Some(path) = &config.audit.path {
        audit::out_of_reach(path, &config)?;
    }
    let audit = Audit::open(&config.audit, &secrets)?;
    record_start(&audit, &config);
    let ground = Ground::new(flags, audit.clone())?;
    let key = config.server.state_key.as_deref();
    let seal = Seal::open(key).with_context(|| format!("server.state_key: failed to read {key:?}"))?;
    let fleet = key.map_or_else(|| "0".to_owned(), |_| seal.fleet());
    let common = Common::open(&config, &secrets, &fleet)?.map(Arc::new);
    let seal = seal.with_common(common.clone());
    let prepared = tokio::task::spawn_blocking(Schema::prepare);
    let mut parts = Parts::prepare(&config, secrets, &ground, None).await?;
    let hold = Hold::default();
    let begin = Begin { before: None, tool, hold: hold.clone() };
    let Built { registry, authority, stopped, starting } =
        build(&config, guard, &mut parts, prepared, seal.clone(), begin).await?;
    record_stopped(&audit, &stopped);
    let path = CallPath::new(registry, authority, Arc::clone(&parts.secrets), audit, config.limits.clone());
    let path = path.with_common(common).with_spans(spans).counting(config.telemetry.metrics);
    let shown = Shown::new(&config, &stopped, is_locked);
    let live = Live::new(parts.generation(path, shown));
    let processes = tokio::spawn(async {
        let processes = starting.ready().await?;
        info!(plugins = processes.reports.len(), "ready");
        Ok(processes)
    });
    Ok(App { config, live, stopped, processes, hold, is_locked, ground, parts })
}

/// From the parts of a configuration to its tools and rules.
async fn build(
    config: &Config,
    mut guard: Guard,
    parts: &mut Parts,
    prepared: JoinHandle<()>,
    seal: Seal,
    Begin { before, tool, hold }: Begin<'_>,
) -> anyhow::Result<Built> {
    for plugin in parts.new_plugins(before) {
        plugin.believe_installed_manifest().await?;
    }
    let startable = guard.startable(config, parts.supervisors()).await;
    parts.keep_only(&startable);
    let plugins = parts.new_plugins(before);
    let mut hosts =
        Hosts::begin(plugins.iter().filter(|plugin| tool.is_none() || plugin.manifest().is_none()), &hold);
    let runner = parts.new_pool(before).filter(|_| tool.is_none()).map(|pool| pool.begin(hold));
    prepared.await?;

    let mut registry = Registry::new()?;
    if config.telemetry.get_metrics {
        registry.add_metrics()?;
    }
    let mut ended = Vec::new();
    for plugin in &startable {
        let manifest = match plugin.manifest() {
            Some(manifest) => manifest,
            None => hosts.ready(plugin.name()).await?.manifest,
        };
        if guard.stops_for_tools(config, plugin.name(), &manifest) {
            hosts.end(plugin).await;
            ended.push(Arc::clone(plugin));
            continue;
        }
        registry.add(plugin, manifest, &config.plugins[&**plugin.name()])?;
    }
    parts.leave_out(&ended);
    if let Some(tool) = tool {
        hosts.begin_more(&needed(&registry, config, tool));
    }
    let (stopped, tools) = guard.stopped();
    registry.stopped = tools;
    check_names(config, &registry)?;
    let authority = Authority::new(config, registry.code_plugin(), seal);
    check_code_mode(config, &registry, &authority)?;
    Ok(Built { registry, authority, stopped, starting: Starting { hosts, runner } })
}

impl Starting {
    /// Waits for all of them.
    async fn ready(self) -> anyhow::Result<Processes> {
        let reports = self.hosts.reports().await?;
        let runner = match self.runner {
            Some(runner) => Some(checked(runner.await?)?),
            None => None,
        };
        Ok(Processes { reports, runner })
    }
}

/// Loads one library in a host without any grant, and returns what it says of itself.
///
/// # Errors
///
/// Why it cannot be loaded.
pub(crate) async fn manifest(library: &str, flags: &Flags) -> anyhow::Result<ManifestFile> {
    let mut config = Config::default();
    // Known by its file until it has said its name.
    let file = Path::new(library).file_stem().unwrap_or_default().to_string_lossy();
    let name = file.strip_prefix("lib").unwrap_or(&file).to_owned();
    config.plugins.insert(name, Plugin { library: library.to_owned(), ..Plugin::default() });
    let secrets = Arc::<Secrets>::default();
    let ground = Ground::new(flags, Audit::open(&config.audit, &secrets)?)?;
    let parts = Parts::prepare(&config, secrets, &ground, None).await?;
    let plugins = parts.supervisors();
    let plugin = plugins.first().context("one plugin is configured")?;
    let Ready { manifest, .. } = plugin.begin(Hold::none()).await??;
    if let Some(host) = plugin.live() {
        host.kill("it has said what it is");
    }
    let (sha256, bytes) = (plugin.library.sealed().await?.sha256.clone(), plugin.library.bytes);
    Ok(ManifestFile { sha256, bytes, manifest })
}

/// That this server started, and by which configuration.
fn record_start(audit: &Audit, config: &Config) {
    audit.event(audit::Event::Start {
        process: "server",
        pid: std::process::id(),
        program: std::env::current_exe().unwrap_or_default(),
        plugin: None,
        plugin_sha256: None,
    });
    record_configuration(audit, "loaded", config, None);
}

/// What a server goes by from now on, or, with a reason, what it goes by still.
fn record_configuration(audit: &Audit, outcome: &'static str, config: &Config, reason: Option<String>) {
    audit.event(audit::Event::Configuration {
        outcome,
        file: config.file.clone(),
        sha256: audit::digest(config),
        change: None,
        reason,
        by: audit::by(),
    });
}

/// Which plugins the lock stopped.
fn record_stopped(audit: &Audit, stopped: &[Drift]) {
    for drift in stopped {
        audit.event(audit::Event::Plugin {
            outcome: "drifted",
            plugin: drift.plugin.to_string(),
            plugin_sha256: None,
            reason: Some(drift.differences()),
            by: audit::by(),
        });
    }
}

/// First starts of hosts under way, by plugin, and what came of those that are over.
struct Hosts {
    starting: BTreeMap<Arc<str>, JoinHandle<Result<Ready, Unavailable>>>,
    reports: BTreeMap<String, Value>,
}

impl Hosts {
    /// All hosts at the same time, after the hold; at once those of plugins whose tools nobody knows.
    fn begin<'a>(plugins: impl Iterator<Item = &'a Arc<Supervisor>>, hold: &Hold) -> Self {
        let begin = |plugin: &'a Arc<Supervisor>| {
            let hold = if plugin.manifest().is_some() { hold.clone() } else { Hold::none() };
            (Arc::clone(plugin.name()), plugin.begin(hold))
        };
        Self { starting: plugins.map(begin).collect(), reports: BTreeMap::new() }
    }

    /// Those of them that do not run yet.
    fn begin_more(&mut self, plugins: &[Arc<Supervisor>]) {
        for plugin in plugins {
            let is_new = !self.reports.contains_key(&**plugin.name());
            if is_new && !self.starting.contains_key(plugin.name()) {
                self.starting.insert(Arc::clone(plugin.name()), plugin.begin(Hold::none()));
            }
        }
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
        self.starting.remove(plugin.name());
        self.reports.remove(&**plugin.name());
        plugin.end("its tools are not what the lock pins").await;
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

/// The plugin of a tool, and the plugins of the tools that it is granted.
fn needed(registry: &Registry, config: &Config, tool: &str) -> Vec<Arc<Supervisor>> {
    let plugin_of = |name: &str| registry.get(name).and_then(|entry| entry.plugin().cloned());
    let Some(plugin) = plugin_of(tool) else { return Vec::new() };
    let granted = config.plugins.get(&**plugin.name()).map_or(&[][..], |plugin| &plugin.grants.tools);
    granted.iter().filter_map(|name| plugin_of(name)).chain([plugin]).collect()
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
    let confirmed: Vec<String> = config.policy.confirm_tools.keys().cloned().collect();
    let confirmed_by: Vec<String> = config.policy.confirm_by_tools.keys().cloned().collect();
    for (place, names) in [
        ("policy.deny", &config.policy.deny[..]),
        ("policy.confirm_tools", &confirmed[..]),
        ("policy.confirm_by_tools", &confirmed_by[..]),
        ("server.mode", listed),
    ] {
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
        let flag = config::flag(config.file.as_deref());
        anyhow::bail!(
            "server.mode = \"code\" needs the tool `{EXECUTE_CODE}`, and plugin `{plugin}` is not what the lock pins; \
             look at `llmc plugin verify{flag}`, then accept it with `llmc plugin accept {plugin}{flag}`"
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
