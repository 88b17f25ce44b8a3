//! Prompts and resources: lists, and the requests that lead to calls.

use llmc_core::manifest::ItemKind;
use llmc_core::offer::Wanted;
use llmc_core::{Envelope, ResourceUri};
use rmcp::model::{
    CompleteRequestParams, CompleteResult, CompletionInfo, GetPromptResult, Prompt, PromptArgument,
    PromptMessage, ReadResourceResult, Reference, Resource, ResourceContents, ResourceTemplate,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Handler;
use super::asking::Reachable;
use crate::call::{Caller, Dialog, Entry, Offered};

/// Resources that one list names.
const MAX_LISTED: usize = 1000;

/// A prompt as clients see it.
pub(super) fn prompt(entry: &Entry) -> Prompt {
    let schema = &entry.input_schema;
    let is_required =
        |name: &str| schema["required"].as_array().is_some_and(|names| names.contains(&json!(name)));
    let arguments: Vec<PromptArgument> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            let argument = PromptArgument::new(name).with_required(is_required(name));
            match schema["description"].as_str() {
                Some(description) => argument.with_description(description),
                None => argument,
            }
        })
        .collect();
    let arguments = Some(arguments).filter(|arguments| !arguments.is_empty());
    let mut prompt = Prompt::new(&entry.name, some(&entry.description), arguments);
    prompt.title = some(&entry.title);
    prompt
}

/// A resource with one address as clients see it.
pub(super) fn resource(entry: &Entry) -> Option<Resource> {
    let offered = entry.resource.as_ref().filter(|offered| !offered.uri.has_variables())?;
    let mut resource = Resource::new(offered.uri.text(), &entry.name);
    resource.title = some(&entry.title);
    resource.description = some(&entry.description);
    resource.mime_type = offered.mime_type.clone();
    Some(resource)
}

/// A template as clients see it.
pub(super) fn template(entry: &Entry) -> Option<ResourceTemplate> {
    let offered = entry.resource.as_ref().filter(|offered| offered.uri.has_variables())?;
    let mut template = ResourceTemplate::new(offered.uri.text(), &entry.name);
    template.title = some(&entry.title);
    template.description = some(&entry.description);
    template.mime_type = offered.mime_type.clone();
    Some(template)
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// What a plugin is called with.
pub(super) fn wanted(wanted: &Wanted) -> Map<String, Value> {
    match serde_json::to_value(wanted) {
        Ok(Value::Object(wanted)) => wanted,
        // A `Wanted` is an object of texts and objects.
        _ => Map::new(),
    }
}

/// The messages of a prompt.
pub(super) fn messages(envelope: Envelope) -> Result<GetPromptResult, ErrorData> {
    #[derive(Deserialize)]
    struct Messages {
        description: Option<String>,
        messages: Vec<PromptMessage>,
    }
    let Messages { description, messages } = answer(envelope, "messages")?;
    let mut result = GetPromptResult::new(messages);
    result.description = description;
    Ok(result)
}

/// What a resource holds; nothing, if the plugin says that it holds nothing at all.
pub(super) fn contents(envelope: Envelope) -> Result<Option<ReadResourceResult>, ErrorData> {
    #[derive(Deserialize)]
    struct Contents {
        contents: Vec<ResourceContents>,
    }
    let Contents { contents } = answer(envelope, "contents")?;
    Ok(Some(contents).filter(|contents| !contents.is_empty()).map(ReadResourceResult::new))
}

/// The answer of a plugin, in the form of the protocol.
fn answer<T: DeserializeOwned>(envelope: Envelope, what: &str) -> Result<T, ErrorData> {
    serde_json::from_value(envelope.structured.unwrap_or_default()).map_err(|error| {
        ErrorData::internal_error(format!("the plugin answered with no {what}: {error}"), None)
    })
}

impl Handler {
    /// The resources that a caller can be told of, those that templates name included.
    pub(super) async fn resources(
        &self,
        context: &RequestContext<RoleServer>,
    ) -> Result<Vec<Resource>, ErrorData> {
        #[derive(Deserialize)]
        struct Listed {
            resources: Vec<Resource>,
        }
        let (caller, _) = self.sender(context)?;
        let mut all: Vec<Resource> = Vec::new();
        let offers = self.path.registry.resources().filter(|entry| self.path.allows(&caller, entry));
        for entry in offers {
            all.extend(resource(entry));
            let may_list = |offered: &&Offered| {
                offered.lists.as_ref().is_some_and(|tool| self.path.allows(&caller, tool))
            };
            let Some(offered) = entry.resource.as_ref().filter(may_list) else { continue };
            let request = self.request(context, ItemKind::Resource, &entry.name, Dialog::nobody())?;
            let request = crate::call::Request { arguments: wanted(&Wanted::List {}), ..request };
            // One that cannot be listed, such as a folder that is gone, must not hide the others; it is audited.
            let Ok(envelope) = self.path.call(request).await else { continue };
            let Ok(Listed { resources }) = answer::<Listed>(envelope, "list of resources") else { continue };
            // A plugin speaks for its own addresses alone.
            all.extend(resources.into_iter().filter(|resource| offered.uri.matches(&resource.uri).is_some()));
        }
        all.truncate(MAX_LISTED);
        Ok(all)
    }

    /// The resource behind an address, if the caller may read it, and the call that reads it.
    pub(super) fn resource_of(&self, caller: &Caller, uri: &str) -> Option<(String, Wanted)> {
        self.path.registry.resources().filter(|entry| self.path.allows(caller, entry)).find_map(|entry| {
            let variables = entry.resource.as_ref()?.uri.matches(uri)?;
            Some((entry.name.clone(), Wanted::Read(ResourceUri { uri: uri.to_owned(), variables })))
        })
    }

    /// Whether changes of a resource are told to whoever wants to know. Those of files are not, and a promise that is not
    /// kept is worse than none; one that never changes has none to tell.
    pub(super) fn fixed(&self, uri: &str, context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let (caller, _) = self.sender(context)?;
        let found = self.resource_of(&caller, uri);
        let not_found =
            || ErrorData::resource_not_found("there is no such resource", Some(json!({"uri": uri})));
        let (name, _) = found.ok_or_else(not_found)?;
        let entry = self.path.registry.find(ItemKind::Resource, &name);
        match entry.and_then(|entry| entry.resource.as_ref()).is_some_and(|offered| offered.fixed) {
            true => Ok(()),
            false => {
                Err(ErrorData::invalid_params("changes of this resource are not told; read it again", None))
            }
        }
    }

    /// Values that an argument of a prompt, or a variable of a template, can have.
    pub(super) async fn completed(
        &self,
        params: CompleteRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let (caller, _) = self.sender(context)?;
        let (kind, name) = match &params.r#ref {
            Reference::Prompt(prompt) => (ItemKind::Prompt, prompt.name.clone()),
            Reference::Resource(template) => {
                let is_meant = |entry: &&std::sync::Arc<Entry>| {
                    entry.resource.as_ref().is_some_and(|offered| offered.uri.text() == template.uri)
                };
                let entry = self.path.registry.resources().find(is_meant);
                let unknown = || ErrorData::invalid_params("there is no such template", None);
                (ItemKind::Resource, entry.ok_or_else(unknown)?.name.clone())
            }
            _ => return Err(ErrorData::invalid_params("only prompts and templates are completed", None)),
        };
        let entry = self.path.registry.find(kind, &name).filter(|entry| self.path.allows(&caller, entry));
        let unknown = || ErrorData::invalid_params("there is no such prompt or template", None);
        let entry = entry.ok_or_else(unknown)?;
        let argument = params.argument.name;
        let is_known = match &entry.resource {
            Some(offered) => offered.uri.has_variable(&argument),
            None => entry.input_schema["properties"].get(&argument).is_some(),
        };
        if !is_known {
            return Err(ErrorData::invalid_params("it has no such argument", None));
        }
        let others = params.context.and_then(|context| context.arguments).unwrap_or_default();
        let others = others.into_iter().collect();
        let asked = Wanted::Complete { argument, value: params.argument.value, others };
        let request = self.request(context, kind, &name, Dialog::nobody())?;
        let request = crate::call::Request { arguments: wanted(&asked), ..request };
        let envelope = self.path.call(request).await.map_err(|error| super::protocol_error(&error))?;
        let llmc_core::Completion { mut values } = answer(envelope, "values")?;
        let (total, most) = (values.len(), CompletionInfo::MAX_VALUES);
        values.truncate(most);
        let info = CompletionInfo::with_pagination(values, u32::try_from(total).ok(), total > most);
        let info = info.map_err(|error| ErrorData::internal_error(error, None))?;
        Ok(CompleteResult::new(info))
    }

    /// Whether a request to the client of this request reaches it.
    pub(super) fn reachable(&self, context: &RequestContext<RoleServer>) -> Reachable {
        match super::answerable(context) {
            _ if !self.is_network() => Reachable::Knowing,
            Some(answerable) if answerable.introduced => Reachable::Knowing,
            Some(_) => Reachable::Unknowing,
            None => Reachable::No,
        }
    }
}
