//! Data with addresses.

use serde_json::json;

use crate::envelope::EmbeddedResource;
use crate::manifest::{Item, ItemKind, ResourceItem};
use crate::offer::{Contents, Listed, Wanted};
use crate::{
    Annotations, Completion, Context, Envelope, ResourceLink, ResourceUri, ToolError, ToolResult, panic, tool,
};

/// A resource, or a template for many: data that clients read by address, to show or to put into a conversation.
///
/// ```
/// use llmc_core::envelope::EmbeddedResource;
/// use llmc_core::prelude::*;
///
/// struct Greetings;
///
/// impl Resource for Greetings {
///     const NAME: &'static str = "greetings";
///     const URI: &'static str = "greeting://{name}";
///     const DESCRIPTION: &'static str = "A greeting for someone.";
///
///     fn read(uri: &ResourceUri, _ctx: &Context) -> ToolResult<Vec<EmbeddedResource>> {
///         let text = format!("Hello, {}!", uri.variable("name"));
///         Ok(vec![EmbeddedResource::text(&uri.uri, "text/plain", text)])
///     }
/// }
/// ```
pub trait Resource {
    /// Name of the resource, matching `^[a-z][a-z0-9_]{0,63}$`.
    const NAME: &'static str;

    /// Name for people; made of `NAME` when empty.
    const TITLE: &'static str = "";

    /// Its address. Variables make it a template: `{name}` stands for a part without `/`, `{+name}` for any text.
    const URI: &'static str;

    /// What it holds.
    const DESCRIPTION: &'static str;

    /// Media type, if it is always the same.
    const MIME_TYPE: &'static str = "";

    /// A tool of this plugin: who may call that gets to see what [`list`](Self::list) names. Without one, nothing is
    /// listed but a single address.
    const LISTS: &'static str = "";

    /// What it holds never changes while the plugin runs; so clients of earlier revisions may subscribe to changes.
    const FIXED: bool = false;

    /// A tool of this plugin. Who may not call that may not read this either; without one, only callers without
    /// limits on their tools may.
    const RIGHTS_OF: &'static str = "";

    /// Reads it. The answer must not be empty.
    ///
    /// # Errors
    /// Whatever went wrong; [`ToolError::not_found`] when there is no such resource.
    fn read(uri: &ResourceUri, ctx: &Context) -> ToolResult<Vec<EmbeddedResource>>;

    /// Names resources that there are, in a fixed order; those that one would want to begin with, if there are many.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn list(ctx: &Context) -> ToolResult<Vec<ResourceLink>> {
        let _ = ctx;
        Ok(Vec::new())
    }

    /// Values that a variable can have, beginning with what was typed so far.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn complete(variable: &str, value: &str, ctx: &Context) -> ToolResult<Completion> {
        let _ = (variable, value, ctx);
        Ok(Completion::default())
    }
}

/// How a resource appears in the manifest.
pub(crate) fn item_of<T: Resource>() -> Item {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Item {
        kind: ItemKind::Resource,
        name: T::NAME.to_owned(),
        title: tool::title_of(T::NAME, T::TITLE),
        description: T::DESCRIPTION.to_owned(),
        input_schema: json!({}),
        output_schema: None,
        annotations: Annotations::READ_ONLY,
        long: false,
        resource: Some(ResourceItem {
            uri: T::URI.to_owned(),
            mime_type: some(T::MIME_TYPE),
            lists: some(T::LISTS),
            fixed: T::FIXED,
            rights_of: some(T::RIGHTS_OF),
        }),
    }
}

/// Serves a [`Wanted`].
pub(crate) fn call_of<T: Resource>(ctx: &Context, wanted: &[u8]) -> ToolResult<Vec<u8>> {
    panic::caught(|| {
        let answer = match tool::parse(T::NAME, wanted)? {
            Wanted::Read(uri) => serde_json::to_value(Contents { contents: T::read(&uri, ctx)? })?,
            Wanted::List {} => serde_json::to_value(Listed { resources: T::list(ctx)? })?,
            Wanted::Complete { argument, value, .. } => {
                serde_json::to_value(T::complete(&argument, &value, ctx)?)?
            }
            Wanted::Get { .. } => {
                return Err(ToolError::invalid(format!("`{}` is a resource", T::NAME)));
            }
        };
        Ok(serde_json::to_vec(&Envelope { structured: Some(answer), ..Envelope::default() })?)
    })
}
