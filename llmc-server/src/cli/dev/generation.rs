//! One build of a plugin, loaded and served.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use llmc_core::Manifest;
use llmc_core::manifest::GrantKind;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::call::{arguments, readable};
use super::super::note;
use super::super::output::Paint;
use super::super::plugin::described;
use super::calls::Calls;
use crate::app::{self, App};
use crate::call::{Caller, Request};
use crate::config::{self, Config, ConfigError, Flags, Grants, Http, HttpAuth, Plugin};
use crate::http::{Listener, Server};
use crate::lock::{self, grant_lines};
use crate::mcp::Handler;

/// A build that loads, and is not yet served.
pub(super) struct Prepared {
    name: String,
    manifest: Manifest,
    config: Config,
    flags: Flags,
    folder: TempDir,
}

/// A plugin that can be called.
pub(super) struct Generation {
    name: String,
    manifest: Manifest,
    app: App,
    calls: Calls,
    served: Option<Served>,
    /// Holds the audit; removed with it.
    _folder: TempDir,
}

/// HTTP, until it is stopped.
struct Served {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Generation {
    /// Loads the library without any grant to learn its name, and makes the configuration.
    pub(super) async fn prepare(
        library: &Path,
        flags: &Flags,
        http: Option<SocketAddr>,
    ) -> anyhow::Result<Prepared> {
        let library = library.to_str().context("the path of the library is not UTF-8")?;
        let found = app::manifest(library, flags).await?;
        let manifest: Manifest = serde_json::from_value(found.manifest)?;
        let name = manifest.name.clone();
        let loaded = config::load(flags)?;
        let has_plugins = loaded.file.is_some() && loaded.config.plugins.contains_key(&name);
        let mut config = loaded.config;
        if has_plugins {
            // What the operator grants it, with the library that was just built.
            if let Some(plugin) = config.plugins.get_mut(&name) {
                library.clone_into(&mut plugin.library);
                plugin.sha256 = None;
            }
        } else {
            let mut plugin = Plugin { library: library.to_owned(), ..Plugin::default() };
            plugin.grants.roots = config.roots.keys().cloned().collect();
            config.plugins = [(name.clone(), plugin)].into();
        }
        // A lock pins what is installed, not what is being made.
        config.server.require_lock = false;
        config.file = None;
        let folder = tempfile::Builder::new().prefix("llmc-dev-").tempdir()?;
        config.audit.path = Some(folder.path().join("audit.jsonl"));
        config.server.http = http.map(|listen| Http { auth: HttpAuth::None, ..Http::on(listen) });
        if let Some(http) = &config.server.http {
            http.check().map_err(ConfigError::Flag)?;
        }
        Ok(Prepared { name, manifest, config, flags: flags.clone(), folder })
    }

    /// What the plugin says of itself, what it asks for and what it is granted.
    pub(super) fn described(&self) -> String {
        let Self { name, manifest, app, .. } = self;
        let granted =
            app.config.plugins.get(name).map(|plugin| grant_lines(&lock::grants(&app.config, plugin)));
        let mut text = format!("\n{}", described(manifest, granted));
        if let Some(plugin) = app.config.plugins.get(name) {
            let lacking =
                manifest.requests.iter().filter_map(|request| lacking(request.grant, &plugin.grants));
            for line in lacking {
                text.push_str(&format!("\nnot granted: {line}\n"));
            }
        }
        if let Some(served) = &self.served {
            text.push_str(&format!("\nserving MCP at http://{}/mcp\n", served.address));
        }
        text
    }

    /// Makes a call, `TOOL {"argument": 1}`, and shows what came of it; tells whether it went well.
    pub(super) async fn call(&mut self, line: &str) -> anyhow::Result<bool> {
        let (tool, json) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), "{}"));
        let arguments = match arguments(json.trim()) {
            Ok(arguments) => arguments,
            Err(error) => {
                note(&super::super::chain(&error));
                return Ok(false);
            }
        };
        let request = Request {
            caller: Caller::CommandLine,
            origin: "command line".into(),
            tool: tool.to_owned(),
            arguments,
            cancel: CancellationToken::new(),
            progress: None,
            parent: None,
        };
        let answer = self.app.path.call(request).await;
        for line in self.calls_ended(Paint::for_stdout()) {
            super::print(&format!("{line}\n"))?;
        }
        match answer {
            Ok(envelope) => {
                super::print(&readable(&envelope))?;
                Ok(!envelope.is_error)
            }
            // The line of the call has told why.
            Err(_) => Ok(false),
        }
    }

    pub(super) fn calls_ended(&mut self, paint: Paint) -> Vec<String> {
        self.calls.ended(paint)
    }

    /// Stops serving, after the calls under way, and ends the hosts.
    pub(super) async fn end(self) {
        if let Some(served) = self.served {
            served.stop.cancel();
            // It ends by itself; how does not matter any more.
            let _ = served.task.await;
        }
        for entry in self.app.path.registry.entries() {
            if let Some(host) = entry.plugin().and_then(|plugin| plugin.live()) {
                host.kill("a new build takes its place");
            }
        }
    }
}

impl Prepared {
    pub(super) async fn start(self) -> anyhow::Result<Generation> {
        let Self { name, manifest, config, flags, folder } = self;
        let listener = match &config.server.http {
            Some(http) => Some(Listener::bind(&config, http).await?),
            None => None,
        };
        let audit = config.audit.path.clone().unwrap_or_default();
        let mut app = app::start(config, &flags).await?;
        app.processes().await?;
        let calls = Calls::follow(&audit).context("failed to open the audit")?;
        let served = match listener {
            Some(listener) => Some(serve(&app, listener)?),
            None => None,
        };
        Ok(Generation { name, manifest, app, calls, served, _folder: folder })
    }
}

/// How to grant what a plugin asks for and has nothing of.
fn lacking(kind: GrantKind, grants: &Grants) -> Option<&'static str> {
    let (has_some, how) = match kind {
        GrantKind::Roots => (!grants.roots.is_empty(), "directories; start with --root NAME=DIR[:rw]"),
        GrantKind::Run => (
            grants.run.is_some(),
            "programs; in a file for --config, `grants.run = { profile = \"workspace\", programs = [\"NAME\"] }`",
        ),
        GrantKind::Tools => {
            (!grants.tools.is_empty(), "other tools; in a file for --config, `grants.tools = [\"NAME\"]`")
        }
        GrantKind::Secrets => {
            (!grants.secrets.is_empty(), "secrets; in a file for --config, `grants.secrets = [\"NAME\"]`")
        }
        GrantKind::State => (grants.state, "a state folder; in a file for --config, `grants.state = true`"),
        GrantKind::Net => (false, "the network; no plugin is granted it"),
        GrantKind::Unknown => (false, "something that this llmc does not know"),
    };
    (!has_some).then_some(how)
}

fn serve(app: &App, listener: Listener) -> anyhow::Result<Served> {
    let address = listener.address()?;
    let (_, ready) = watch::channel(true);
    let server = Server {
        handler: Handler::for_network(Arc::clone(&app.path), &app.instructions),
        path: Arc::clone(&app.path),
        max_body_bytes: app.config.limits.max_message_bytes,
        ready,
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(listener.serve(server, stop.clone()));
    Ok(Served { address, stop, task })
}
