//! A plugin that is loaded and served, one build after the other.

use anyhow::Context as _;
use llmc_core::Manifest;
use llmc_core::manifest::GrantKind;
use std::net::SocketAddr;
use std::path::Path;
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
use crate::audit;
use crate::call::Request;
use crate::config::{
    self, Audit, Config, ConfigError, Durability, Flags, Grants, Http, HttpAuth, Listen, Loaded, Plugin,
};
use crate::http::{Listener, Server};
use crate::lock::{self, grant_lines};

/// A plugin that can be called, whichever build of it was loaded last.
pub(super) struct Session {
    name: String,
    manifest: Manifest,
    app: App,
    calls: Calls,
    served: Option<Served>,
    /// Dropped after what is recorded, and before the place of the records.
    _recorded: Recorded,
    /// Holds the audit; removed with it.
    folder: TempDir,
}

/// Ends the audit, which else would look for a folder that is gone.
struct Recorded;

/// HTTP, for as long as this lives.
struct Served {
    /// Such as `http://127.0.0.1:8765`.
    address: String,
    task: JoinHandle<()>,
}

impl Session {
    /// Loads the first build.
    pub(super) async fn start(
        library: &Path,
        flags: &Flags,
        http: Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let manifest = manifest(library, flags).await?;
        let folder = tempfile::Builder::new().prefix("llmc-dev-").tempdir()?;
        let config = configuration(&manifest.name, library, flags, folder.path(), http.map(Listen::Tcp))?;
        let listener = match &config.server.http {
            Some(http) => Some(Listener::bind(&config, http).await?),
            None => None,
        };
        let audit = config.audit.path.clone().unwrap_or_default();
        let mut app = app::start(config, flags).await?;
        app.processes().await?;
        let calls = Calls::follow(&audit).context("failed to open the audit")?;
        let served = match listener {
            Some(listener) => Some(serve(&app, listener)?),
            None => None,
        };
        Ok(Self { name: manifest.name.clone(), manifest, app, calls, served, _recorded: Recorded, folder })
    }

    /// Puts another build in the place of the one that is loaded, without dropping a call.
    ///
    /// # Errors
    ///
    /// Why it cannot be loaded; the last one goes on then.
    pub(super) async fn take_up(&mut self, library: &Path, flags: &Flags) -> anyhow::Result<()> {
        let manifest = manifest(library, flags).await?;
        let http = self.app.config.server.http.as_ref().map(|http| http.listen.clone());
        let config = configuration(&manifest.name, library, flags, self.folder.path(), http)?;
        self.app.reload(config).await?;
        self.name.clone_from(&manifest.name);
        self.manifest = manifest;
        Ok(())
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
            text.push_str(&format!("\nserving MCP at {}/mcp\n", served.address));
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
        let request = Request::from_command_line(tool.to_owned(), arguments);
        let answer = self.app.path().call(request).await;
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
}

/// Loads the library without any grant, to learn what it says of itself.
async fn manifest(library: &Path, flags: &Flags) -> anyhow::Result<Manifest> {
    let library = library.to_str().context("the path of the library is not UTF-8")?;
    Ok(serde_json::from_value(app::manifest(library, flags).await?.manifest)?)
}

/// What the operator's configuration grants a plugin of this name, with the library that was just built; without such
/// a plugin, the directories of --root and nothing else.
fn configuration(
    name: &str,
    library: &Path,
    flags: &Flags,
    folder: &Path,
    http: Option<Listen>,
) -> anyhow::Result<Config> {
    let library = library.to_string_lossy().into_owned();
    let Loaded { mut config, file, .. } = config::load(flags)?;
    match config.plugins.get_mut(name).filter(|_| file.is_some()) {
        Some(plugin) => (plugin.library, plugin.sha256) = (library, None),
        None => {
            let roots = config.roots.keys().cloned().collect();
            let grants = Grants { roots, ..Grants::default() };
            config.plugins = [(name.to_owned(), Plugin { library, grants, ..Plugin::default() })].into();
        }
    }
    // Lock and signatures are about what is installed, not about what is being made.
    (config.server.require_lock, config.server.require_signature, config.file) = (false, false, None);
    // A call is shown as soon as it has been answered.
    config.audit =
        Audit { path: Some(folder.join("audit.jsonl")), durability: Durability::Call, ..Audit::default() };
    config.server.http = http.map(|listen| Http { auth: HttpAuth::None, ..Http::on(listen) });
    if let Some(http) = &config.server.http {
        http.check().map_err(ConfigError::Flag)?;
    }
    Ok(config)
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
    let (ready, is_ready) = watch::channel(true);
    let max_body_bytes = app.config.limits.max_message_bytes;
    let server = Server { live: app.live.clone(), max_body_bytes, ready: is_ready, console: None };
    let task = tokio::spawn(async move {
        // Ready for as long as it serves.
        let _ready = ready;
        listener.serve(server, CancellationToken::new()).await;
    });
    Ok(Served { address, task })
}

impl Drop for Recorded {
    fn drop(&mut self) {
        audit::finish();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}
