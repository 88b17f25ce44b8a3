//! Who may call what. Deny by default: a caller that is not named here may call nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use llmc_core::manifest::GrantKind;

use super::{CallError, Entry, Kind};
use crate::config::{Config, Grants, Mode, NamedMode};

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The MCP client.
    Client,
    /// A person at the command line.
    CommandLine,
    /// A plugin, for itself or for code that it runs.
    Plugin(Arc<str>),
}

impl fmt::Display for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client => formatter.write_str("client"),
            Self::CommandLine => formatter.write_str("command line"),
            Self::Plugin(name) => write!(formatter, "plugin {name}"),
        }
    }
}

/// The rules, taken from the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    mode: Mode,
    read_only: bool,
    deny: BTreeSet<String>,
    /// What each plugin is granted.
    plugins: BTreeMap<String, Grants>,
}

impl Authority {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            mode: config.server.mode.clone(),
            read_only: config.policy.read_only,
            deny: config.policy.deny.iter().cloned().collect(),
            plugins: config.grants(),
        }
    }

    /// Whether `caller` may call this tool.
    ///
    /// # Errors
    ///
    /// A refusal that names the rule and what would change it.
    pub(crate) fn allows(&self, caller: &Caller, entry: &Entry) -> Result<(), CallError> {
        let tool = &entry.name;
        if self.deny.contains(tool) {
            return denied(format!("`{tool}` is denied by `policy.deny`"));
        }
        if self.read_only && !entry.annotations.read_only {
            return denied(format!("`{tool}` may change something and `policy.read_only` is set"));
        }
        match caller {
            Caller::CommandLine => Ok(()),
            Caller::Client if self.shows(tool) => Ok(()),
            Caller::Client => {
                denied(format!("`{tool}` is not offered to clients; add it to `server.mode` to change that"))
            }
            Caller::Plugin(name) => {
                let granted = self.plugins.get(&**name).cloned().unwrap_or_default();
                if granted.tools.contains(tool) {
                    return Ok(());
                }
                let line = granted.line_with(name, |grants| grants.tools.push(tool.clone()));
                denied(format!("plugin `{name}` is not granted tool `{tool}`; to allow it, write {line}"))
            }
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
            GrantKind::Net | GrantKind::Unknown => String::new(),
        }
    }

    fn shows(&self, tool: &str) -> bool {
        match &self.mode {
            Mode::Named(NamedMode::All) => true,
            Mode::Listed(tools) => tools.iter().any(|listed| listed == tool),
        }
    }
}

fn denied(message: String) -> Result<(), CallError> {
    Err(CallError::new(Kind::Denied, message))
}
