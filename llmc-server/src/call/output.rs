//! What comes back from a plugin, before anybody sees it: capped, parsed, masked, checked.

use llmc_core::manifest::ItemKind;
use llmc_core::{Content, Envelope};

use super::{CallError, Entry, Kind};
use crate::secret::Secrets;

/// Turns the bytes of a result into one that may be shown, and tells how large it is.
///
/// # Errors
///
/// When the result is too large, is not an envelope, or does not fit the tool's output schema.
pub(super) fn checked(
    body: &[u8],
    entry: &Entry,
    secrets: &Secrets,
    max_bytes: usize,
) -> Result<(Envelope, usize), CallError> {
    let invalid = |what: String| {
        let (tool, plugin) = (&entry.name, entry.owner());
        CallError::new(Kind::InvalidResult, format!("`{tool}` of plugin `{plugin}` answered with {what}"))
    };
    let within_limit = |bytes: usize| match bytes > max_bytes {
        true => Err(too_large(&entry.name, bytes, max_bytes)),
        false => Ok(()),
    };
    within_limit(body.len())?;
    let (mut envelope, bytes) = Envelope::from_json(body)
        .map_err(|error| invalid(format!("something that is no result: {error}")))?;
    within_limit(bytes)?;
    if !secrets.is_empty() {
        mask(&mut envelope, secrets)?;
    }
    if let Some(output) = entry.output.as_ref().filter(|_| !envelope.is_error) {
        let structured = envelope
            .structured
            .as_ref()
            .ok_or_else(|| invalid("no structured content, though it declares an output schema".into()))?;
        output
            .check(structured)
            .map_err(|problems| invalid(format!("content that breaks its own schema: {problems}")))?;
    }
    if envelope.content.is_empty() && entry.kind == ItemKind::Tool {
        // Clients that know no structured content see this.
        let text = envelope.structured.as_ref().map(ToString::to_string).unwrap_or_default();
        envelope.content.push(Content::text(text));
    }
    Ok((envelope, bytes))
}

fn too_large(tool: &str, bytes: usize, max_bytes: usize) -> CallError {
    let message = format!(
        "the result of `{tool}` has {bytes} bytes, the limit is {max_bytes} bytes (`limits.max_result_bytes`)"
    );
    CallError::new(Kind::Limit, message).by("limits.max_result_bytes")
}

fn mask(envelope: &mut Envelope, secrets: &Secrets) -> Result<(), CallError> {
    let failed = |error: serde_json::Error| CallError::new(Kind::InvalidResult, error.to_string());
    let mut value = serde_json::to_value(&*envelope).map_err(failed)?;
    secrets.mask_value(&mut value);
    *envelope = serde_json::from_value(value).map_err(failed)?;
    Ok(())
}
