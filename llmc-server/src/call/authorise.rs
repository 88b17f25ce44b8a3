//! Who may call what. Deny by default: a caller that is not named here may call nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use llmc_core::manifest::{GrantKind, ItemKind};

use super::confirm::Rules;
use super::registry::EXECUTE_CODE;
use super::seal::Seal;
use super::{CallError, Entry, Home, Identity, Kind};
use crate::config::{Config, Grants, Mode, NamedMode};

/// Tools that clients see in code mode, as far as they exist: what finds tools, what looks, and what runs code.
const CODE_MODE: [&str; 6] =
    ["describe_tool", EXECUTE_CODE, "list_dir", "read_file", "read_more", "search_tools"];

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The MCP client on stdio.
    Client,
    /// One over the network.
    Remote(Arc<Identity>),
    /// A person at the command line.
    CommandLine,
    /// A plugin, for itself or for code that it runs.
    Plugin(Arc<str>),
}

impl Caller {
    /// Whether it is a client, and so sees what `server.mode` shows.
    pub(super) fn is_client(&self) -> bool {
        matches!(self, Self::Client | Self::Remote(_))
    }

    /// How its calls come in, for the audit.
    pub(super) fn transport(&self) -> &'static str {
        match self {
            Self::Client => "stdio",
            Self::Remote(_) => "http",
            Self::CommandLine => "command line",
            Self::Plugin(_) => "plugin",
        }
    }

    /// Whether a tool is open to it as far as its token goes.
    pub(super) fn opens(&self, tool: &str) -> bool {
        match self {
            Self::Remote(identity) => identity.opens(tool),
            Self::Client | Self::CommandLine | Self::Plugin(_) => true,
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => formatter.write_str("client"),
            Self::Remote(identity) => formatter.write_str(identity.shown()),
            Self::CommandLine => formatter.write_str("command line"),
            Self::Plugin(name) => write!(formatter, "plugin {name}"),
        }
    }
}

/// The rules, taken from the configuration.
#[derive(Clone)]
pub(crate) struct Authority {
    mode: Mode,
    read_only: bool,
    deny: BTreeSet<String>,
    /// What each plugin is granted.
    plugins: BTreeMap<String, Grants>,
    /// The plugin that runs code.
    code_plugin: Option<Arc<str>>,
    confirm: Rules,
    seal: Seal,
}

impl Authority {
    /// `seal` is for what clients hand back.
    pub(crate) fn new(config: &Config, code_plugin: Option<&Arc<str>>, seal: Seal) -> Self {
        Self {
            confirm: Rules::new(config),
            seal,
            code_plugin: code_plugin.cloned(),
            mode: config.server.mode.clone(),
            read_only: config.policy.read_only,
            deny: config.policy.deny.iter().cloned().collect(),
            plugins: config.grants(),
        }
    }

    /// Which calls need the consent of a person.
    pub(super) fn confirm(&self) -> &Rules {
        &self.confirm
    }

    pub(super) fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Whether `caller` may call this tool.
    ///
    /// # Errors
    ///
    /// A refusal that names the rule and what would change it.
    pub(crate) fn allows(&self, caller: &Caller, entry: &Entry) -> Result<(), CallError> {
        if entry.kind != ItemKind::Tool {
            return self.allows_offer(caller, entry);
        }
        let tool = &entry.name;
        if self.deny.contains(tool) {
            return denied("policy.deny", format!("`{tool}` is denied by `policy.deny`"));
        }
        if self.read_only && !entry.annotations.read_only {
            let message = format!("`{tool}` may change something and `policy.read_only` is set");
            return denied("policy.read_only", message);
        }
        match caller {
            Caller::CommandLine => Ok(()),
            Caller::Remote(identity) if !identity.opens(tool) => not_opened(tool),
            Caller::Client | Caller::Remote(_) if self.shows(entry) => Ok(()),
            Caller::Client | Caller::Remote(_) if self.code_may_call(tool) => denied(
                "server.mode",
                format!(
                    "`{tool}` is not offered to clients (`server.mode`), only to code: call `{EXECUTE_CODE}` with \
                     `from llmc import tools`, then `tools.{tool}(...)`"
                ),
            ),
            Caller::Client | Caller::Remote(_) => denied(
                "server.mode",
                format!("`{tool}` is not offered to clients; add it to `server.mode` to change that"),
            ),
            Caller::Plugin(name) => {
                let granted = self.plugins.get(&**name).cloned().unwrap_or_default();
                if granted.tools.contains(tool) {
                    return Ok(());
                }
                let line = granted.line_with(name, |grants| grants.tools.push(tool.clone()));
                let message =
                    format!("plugin `{name}` is not granted tool `{tool}`; to allow it, write {line}");
                denied("grants.tools", message)
            }
        }
    }

    /// Whether `caller` may have a prompt or a resource: like the tool whose rights hold for it, or else if its tools are
    /// not limited. Plugins and code have tools for what they need.
    fn allows_offer(&self, caller: &Caller, entry: &Entry) -> Result<(), CallError> {
        let shown = Entry::shown(entry.kind, &format!("`{}`", entry.name));
        match (caller, entry.rights()) {
            (Caller::Plugin(_), _) => denied("offers", format!("{shown} is for clients")),
            (_, Some(tool)) => self.allows(caller, tool),
            (Caller::Remote(identity), None) if identity.tools().is_some() => denied(
                "token",
                format!("this token opens some tools only, and {shown} belongs to none of them"),
            ),
            (Caller::Client | Caller::Remote(_) | Caller::CommandLine, None) => Ok(()),
        }
    }

    /// What would give a plugin more of a kind of grant; nothing where there is no such line.
    pub(crate) fn advice(&self, grant: GrantKind, plugin: &str) -> String {
        let granted = self.plugins.get(plugin).cloned().unwrap_or_default();
        let name = || "NAME".to_owned();
        match grant {
            GrantKind::Roots => format!(
                "; to grant plugin `{plugin}` another directory, start with `--root NAME=DIR`, or write `[roots] NAME \
                 = {{ path = \"DIR\" }}` and {}",
                granted.line_with(plugin, |grants| grants.roots.push(name()))
            ),
            GrantKind::Run => {
                let line = granted.line_with(plugin, |grants| grants.run_mut().programs.push(name()));
                format!("; to allow it, write {line}")
            }
            GrantKind::Tools => {
                format!(
                    "; to allow it, write {}",
                    granted.line_with(plugin, |grants| grants.tools.push(name()))
                )
            }
            GrantKind::Secrets => {
                format!(
                    "; to allow it, write {}",
                    granted.line_with(plugin, |grants| grants.secrets.push(name()))
                )
            }
            GrantKind::State => {
                format!("; to allow it, write {}", granted.line_with(plugin, |grants| grants.state = true))
            }
            GrantKind::Net | GrantKind::Unknown => String::new(),
        }
    }

    fn shows(&self, entry: &Entry) -> bool {
        match &self.mode {
            // Who sees every tool needs none to find them.
            Mode::Named(NamedMode::All) => !matches!(entry.home, Home::Server(tool) if tool.finds_tools()),
            Mode::Named(NamedMode::Code) => CODE_MODE.contains(&entry.name.as_str()),
            Mode::Listed(tools) => tools.contains(&entry.name),
        }
    }

    fn code_may_call(&self, tool: &str) -> bool {
        let granted = self.code_plugin.as_ref().and_then(|plugin| self.plugins.get(&**plugin));
        granted.is_some_and(|grants| grants.tools.iter().any(|granted| granted == tool))
    }
}

/// What the holder of a token is told of tools beyond it, whether there are such tools or not.
pub(super) fn not_opened(tool: &str) -> Result<(), CallError> {
    let tool = super::shortened(tool);
    let message = format!(
        "this token does not open `{tool}`; `llmc token create NAME --tools ...` names what one opens, and \
         `server.http.oauth.scopes` what an access token does"
    );
    denied("token.tools", message)
}

fn denied(rule: &'static str, message: String) -> Result<(), CallError> {
    Err(CallError::new(Kind::Denied, message).by(rule))
}
