//! Texts that a person has put into a conversation.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::manifest::{Item, ItemKind};
use crate::offer::Wanted;
use crate::{
    Annotations, Completion, Context, Envelope, Messages, ToolError, ToolResult, panic, schema, tool,
};

/// A prompt: messages that a person chooses by name, often as a command. The type holds the arguments, which are
/// texts; mark it with `#[arguments]`. Its doc comment describes it.
///
/// ```
/// use llmc_core::prelude::*;
///
/// /// Asks for a review.
/// #[arguments]
/// pub struct Review {
///     /// What to look at.
///     path: String,
/// }
///
/// impl Prompt for Review {
///     const NAME: &'static str = "review";
///
///     fn get(self, _ctx: &Context) -> ToolResult<Messages> {
///         Ok(Messages::user(format!("Review `{}` as a careful colleague would.", self.path)))
///     }
/// }
/// ```
pub trait Prompt: DeserializeOwned + JsonSchema {
    /// Name of the prompt, matching `^[a-z][a-z0-9_]{0,63}$`.
    const NAME: &'static str;

    /// Name for people; made of `NAME` when empty.
    const TITLE: &'static str = "";

    /// Makes the messages.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn get(self, ctx: &Context) -> ToolResult<Messages>;

    /// Values that an argument can have, beginning with what was typed so far.
    ///
    /// # Errors
    /// Whatever went wrong.
    fn complete(argument: &str, value: &str, ctx: &Context) -> ToolResult<Completion> {
        let _ = (argument, value, ctx);
        Ok(Completion::default())
    }

    /// What it is for; the doc comment of the type unless overridden.
    fn description() -> String {
        schema::of_input::<Self>().description
    }
}

/// How a prompt appears in the manifest.
pub(crate) fn item_of<T: Prompt>() -> Item {
    Item {
        kind: ItemKind::Prompt,
        name: T::NAME.to_owned(),
        title: tool::title_of(T::NAME, T::TITLE),
        description: T::description(),
        input_schema: schema::of_input::<T>().schema,
        output_schema: None,
        annotations: Annotations::READ_ONLY,
        long: false,
        resource: None,
    }
}

/// Serves a [`Wanted`].
pub(crate) fn call_of<T: Prompt>(ctx: &Context, wanted: &[u8]) -> ToolResult<Vec<u8>> {
    panic::caught(|| {
        let answer = match tool::parse(T::NAME, wanted)? {
            Wanted::Get { arguments } => {
                let arguments = serde_json::to_vec(&arguments)?;
                serde_json::to_value(tool::parse::<T>(T::NAME, &arguments)?.get(ctx)?)?
            }
            Wanted::Complete { argument, value, .. } => {
                serde_json::to_value(T::complete(&argument, &value, ctx)?)?
            }
            Wanted::Read(_) | Wanted::List {} => {
                return Err(ToolError::invalid(format!("`{}` is a prompt", T::NAME)));
            }
        };
        Ok(serde_json::to_vec(&Envelope { structured: Some(answer), ..Envelope::default() })?)
    })
}
