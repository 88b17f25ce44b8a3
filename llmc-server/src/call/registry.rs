//! Which tools, prompts and resources there are. Built once from the manifests; a manifest is judged here, before anything believes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use llmc_core::Manifest;
use llmc_core::manifest::{Annotations, Item, ItemKind};
use serde_json::{Map, Value, json};

use super::builtin::Builtin;
use super::schema::{Schema, nearest};
use super::template::Template;
use crate::config::{self, is_name};
use crate::plugin::Supervisor;
use crate::telemetry::{METRICS, OfTool};

/// Tools, prompts and resources that one plugin may have.
const MAX_ITEMS: usize = 512;

/// Longest description in bytes.
const MAX_DESCRIPTION_BYTES: usize = 16 << 10;

/// The tool that runs code, which calls the others.
pub(crate) const EXECUTE_CODE: &str = "execute_code";

/// A tool, a prompt or a resource.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) annotations: Annotations,
    pub(crate) input_schema: Value,
    pub(crate) output_schema: Option<Value>,
    pub(crate) input: Schema,
    pub(crate) output: Option<Schema>,
    pub(crate) home: Home,
    pub(crate) kind: ItemKind,
    /// Its calls usually take long.
    pub(crate) long: bool,
    /// Of a resource.
    pub(crate) resource: Option<Offered>,
    /// What is counted of it.
    pub(crate) metrics: Arc<OfTool>,
}

/// A resource's place in the world.
pub(crate) struct Offered {
    pub(crate) uri: Template,
    pub(crate) mime_type: Option<String>,
    /// It can be listed by whoever may call this tool.
    pub(crate) lists: Option<Arc<Entry>>,
    /// It never changes.
    pub(crate) fixed: bool,
    /// Who may not call this tool may not read it.
    pub(crate) rights_of: Option<Arc<Entry>>,
}

/// Who answers calls of a tool.
pub(crate) enum Home {
    /// A plugin.
    Plugin(OfPlugin),
    /// The server itself.
    Server(Builtin),
}

/// A tool's place in its plugin.
pub(crate) struct OfPlugin {
    pub(crate) plugin: Arc<Supervisor>,
    /// Its place in the plugin's manifest.
    pub(crate) item: u16,
}

impl Entry {
    /// The plugin, unless the server itself answers.
    pub(crate) fn plugin(&self) -> Option<&Arc<Supervisor>> {
        match &self.home {
            Home::Plugin(home) => Some(&home.plugin),
            Home::Server(_) => None,
        }
    }

    /// The tool whose callers may have it: itself, or that whose rights hold for a resource.
    pub(crate) fn rights(&self) -> Option<&Self> {
        match self.kind {
            ItemKind::Tool => Some(self),
            _ => self.resource.as_ref().and_then(|resource| resource.rights_of.as_deref()),
        }
    }

    /// As it is named in the audit and to people.
    pub(crate) fn shown(kind: ItemKind, name: &str) -> String {
        match kind {
            ItemKind::Prompt => format!("prompt {name}"),
            ItemKind::Resource => format!("resource {name}"),
            ItemKind::Tool | ItemKind::Unknown => name.to_owned(),
        }
    }

    /// Name of the plugin, or `server`.
    pub(crate) fn owner(&self) -> &str {
        self.plugin().map_or("server", |plugin| &**plugin.name())
    }
}

/// All tools, prompts and resources by name.
pub(crate) struct Registry {
    entries: BTreeMap<String, Arc<Entry>>,
    prompts: BTreeMap<String, Arc<Entry>>,
    resources: BTreeMap<String, Arc<Entry>>,
    /// Tools of plugins that were stopped because they are not what the lock pins, with their plugins.
    pub(crate) stopped: BTreeMap<String, Arc<str>>,
}

/// Why a plugin's manifest is refused.
#[derive(Debug, thiserror::Error)]
#[error("manifest of plugin `{plugin}`: {problem}")]
pub(crate) struct ManifestError {
    plugin: String,
    problem: String,
}

impl Registry {
    /// The server's own tools.
    ///
    /// # Errors
    ///
    /// When one of them is no tool.
    pub(crate) fn new() -> Result<Self, ManifestError> {
        let refused = |problem: String| ManifestError { plugin: "server".into(), problem };
        let entries = Builtin::ALL.map(|tool| tool.entry().map_err(refused));
        let named = |entry: Entry| (entry.name.clone(), Arc::new(entry));
        let entries = entries.into_iter().map(|entry| entry.map(named)).collect::<Result<_, _>>()?;
        let (prompts, resources, stopped) = Default::default();
        Ok(Self { entries, prompts, resources, stopped })
    }

    /// Adds the tool that tells models how the server fares.
    ///
    /// # Errors
    ///
    /// When it is no tool.
    pub(crate) fn add_metrics(&mut self) -> Result<(), ManifestError> {
        let refused = |problem: String| ManifestError { plugin: "server".into(), problem };
        let entry = Builtin::GetMetrics.entry().map_err(refused)?;
        self.entries.insert(entry.name.clone(), Arc::new(entry));
        Ok(())
    }

    /// A tool.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Entry>> {
        self.entries.get(name)
    }

    /// Whatever is called by this kind and name.
    pub(crate) fn find(&self, kind: ItemKind, name: &str) -> Option<&Arc<Entry>> {
        match kind {
            ItemKind::Tool => self.entries.get(name),
            ItemKind::Prompt => self.prompts.get(name),
            ItemKind::Resource => self.resources.get(name),
            ItemKind::Unknown => None,
        }
    }

    /// In the order of their names.
    pub(crate) fn prompts(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.prompts.values()
    }

    /// In the order of their names.
    pub(crate) fn resources(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.resources.values()
    }

    /// Whether there is such a tool, or would be if its plugin had not been stopped.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.stopped.contains_key(name)
    }

    /// The tool that was probably meant.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        nearest(name, self.entries.keys().map(String::as_str))
    }

    /// The plugin whose tool `execute_code`, maybe behind a prefix, runs code.
    pub(crate) fn code_plugin(&self) -> Option<&Arc<str>> {
        let runs_code = |name: &str| name == EXECUTE_CODE || name.ends_with("_execute_code");
        let prefixed = || self.entries.values().find(|entry| runs_code(&entry.name));
        let entry = self.entries.get(EXECUTE_CODE).or_else(prefixed)?;
        entry.plugin().map(|plugin| plugin.name())
    }

    /// In the order of their names, which does not change.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// Adds the tools of a plugin.
    ///
    /// # Errors
    ///
    /// When the manifest is not one, or a name is taken.
    pub(crate) fn add(
        &mut self,
        plugin: &Arc<Supervisor>,
        manifest: Value,
        config: &config::Plugin,
    ) -> Result<(), ManifestError> {
        let refused = |problem: String| ManifestError { plugin: plugin.name().to_string(), problem };
        let manifest: Manifest = serde_json::from_value(manifest)
            .map_err(|error| refused(format!("it cannot be read: {error}")))?;
        if manifest.items.len() > MAX_ITEMS {
            return Err(refused(format!("{} items, the limit is {MAX_ITEMS}", manifest.items.len())));
        }
        if let Some(schema) = &manifest.config_schema {
            check_config(schema, config.config.as_ref()).map_err(refused)?;
        }
        let known = |item: &Item| item.kind != ItemKind::Unknown;
        let items = manifest.items.into_iter().enumerate().filter(|(_, item)| known(item));
        // Tools first: resources may take over the rights of one.
        let (tools, offers): (Vec<_>, Vec<_>) = items.partition(|(_, item)| item.kind == ItemKind::Tool);
        for (index, item) in tools.into_iter().chain(offers) {
            let prefixed = |name: &str| {
                config.prefix.as_ref().map_or(name.to_owned(), |prefix| format!("{prefix}_{name}"))
            };
            let name = prefixed(&item.name);
            let about = |problem: String| {
                let what = Entry::shown(item.kind, &format!("`{}`", shown(&item.name)));
                let tool = if item.kind == ItemKind::Tool { "tool " } else { "" };
                refused(format!("{tool}{what}: {problem}"))
            };
            if !is_name(&name) {
                return Err(about("the name must match ^[a-z][a-z0-9_]{0,63}$".into()));
            }
            if let Some(other) = self.find(item.kind, &name) {
                return Err(about(match &other.home {
                    Home::Plugin(other) => format!(
                        "plugin `{}` has one of the same name; set `prefix` for one of the two",
                        other.plugin.name()
                    ),
                    Home::Server(_) => {
                        "the server has a tool of the same name; set `prefix` for the plugin".to_owned()
                    }
                }));
            }
            let item_index = u16::try_from(index).map_err(|_| about("too many items".into()))?;
            let mut entry = entry(name.clone(), item_index, &item, plugin).map_err(about)?;
            if item.kind == ItemKind::Resource {
                let rights_of = |tool: &str| self.entries.get(&prefixed(tool)).cloned();
                entry.resource = Some(offered(&item, rights_of).map_err(about)?);
            }
            let all = match item.kind {
                ItemKind::Prompt => &mut self.prompts,
                ItemKind::Resource => &mut self.resources,
                ItemKind::Tool | ItemKind::Unknown => &mut self.entries,
            };
            all.insert(name, Arc::new(entry));
        }
        Ok(())
    }
}

/// The operator's configuration of a plugin against what the plugin says that it understands.
fn check_config(schema: &Value, config: Option<&Value>) -> Result<(), String> {
    let schema = Schema::compile(schema).map_err(|problem| format!("configuration schema: {problem}"))?;
    let none = Value::Object(Map::new());
    schema.check(config.unwrap_or(&none)).map_err(|problems| format!("`config` does not fit: {problems}"))
}

/// A name that a plugin chose, safe to print in a terminal.
fn shown(name: &str) -> String {
    name[..name.floor_char_boundary(128)].escape_debug().to_string()
}

fn entry(name: String, index: u16, item: &Item, plugin: &Arc<Supervisor>) -> Result<Entry, String> {
    if item.description.len() > MAX_DESCRIPTION_BYTES {
        return Err(format!("the description has more than {MAX_DESCRIPTION_BYTES} bytes"));
    }
    let input = match item.kind {
        ItemKind::Prompt => Schema::compile(&of_prompt(&item.input_schema)?),
        ItemKind::Resource => Schema::compile(&json!({"type": "object"})),
        ItemKind::Tool | ItemKind::Unknown => Schema::compile(&item.input_schema),
    };
    let input = input.map_err(|problem| format!("input schema: {problem}"))?;
    let output = item.output_schema.as_ref().map(Schema::compile).transpose();
    let output = output.map_err(|problem| format!("output schema: {problem}"))?;
    Ok(Entry {
        metrics: METRICS.tool(&Entry::shown(item.kind, &name)),
        name,
        title: item.title.clone(),
        description: item.description.clone(),
        annotations: item.annotations,
        input_schema: item.input_schema.clone(),
        output_schema: item.output_schema.clone(),
        input,
        output,
        home: Home::Plugin(OfPlugin { plugin: Arc::clone(plugin), item: index }),
        kind: item.kind,
        long: item.long,
        resource: None,
    })
}

/// What a resource says of itself.
fn offered(item: &Item, tool: impl Fn(&str) -> Option<Arc<Entry>>) -> Result<Offered, String> {
    let resource = item.resource.as_ref().ok_or("it has no address")?;
    let known = |name: &String| {
        let unknown =
            || format!("it has the rights of tool `{}`, which the plugin does not have", shown(name));
        tool(name).ok_or_else(unknown)
    };
    let rights_of = resource.rights_of.as_ref().map(known).transpose()?;
    let lists = resource.lists.as_ref().map(known).transpose()?;
    let uri = Template::parse(&resource.uri)?;
    if lists.is_some() && !uri.has_variables() {
        return Err("it lists resources, but its address is that of a single one".to_owned());
    }
    let mime_type = resource.mime_type.clone();
    Ok(Offered { uri, mime_type, lists, fixed: resource.fixed, rights_of })
}

/// The schema of what a prompt is called with, see `llmc_core::offer::Wanted`, around that of its arguments.
fn of_prompt(arguments: &Value) -> Result<Value, String> {
    if arguments.get("$defs").is_some() {
        return Err("arguments of prompts are texts; they need no `$defs`".to_owned());
    }
    let get = json!({"type": "object", "properties": {"arguments": arguments}});
    Ok(json!({"type": "object", "properties": {"get": get, "complete": {"type": "object"}}}))
}
