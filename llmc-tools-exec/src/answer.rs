//! Makes a call for the code, and writes the frames that answer it.

use llmc_core::code;
use llmc_core::prelude::*;
use llmc_core::serde::{Deserialize, Serialize};

use crate::frame::{Kind, encode};
use crate::limits::{MAX_NAME_BYTES, MAX_REPLY_BYTES};
use crate::protocol::Call;

/// From so many bytes on a text goes beside its answer: to escape it here and to read that there takes longer than
/// everything else about an answer.
const LONG_TEXT_BYTES: usize = 512;
/// What code calls to get a secret; no tool can have this name.
const SECRET: &str = "llmc.secret";

/// The answer to a call.
#[derive(Serialize)]
#[serde(crate = "llmc_core::serde")]
struct Reply<'a> {
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
    /// The field of the value whose text came before.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ReplyError<'a>>,
}

#[derive(Serialize)]
#[serde(crate = "llmc_core::serde")]
struct ReplyError<'a> {
    kind: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
}

/// Makes the call; the frames that answer it, and whether it succeeded.
pub(crate) fn answer(ctx: &Context, call: &Call, within: Option<&[String]>, texts: bool) -> (Vec<u8>, bool) {
    let result = make(ctx, call, within).and_then(|mut value| {
        let text = if texts { take_text(&mut value) } else { None };
        let (field, text) = text.unzip();
        let body = write(&Reply { id: call.id, value: Some(&value), text: field.as_deref(), error: None });
        let bytes = body.len() + text.as_ref().map_or(0, String::len);
        if bytes > MAX_REPLY_BYTES {
            return Err(ToolError::failed(format!(
                "the result of `{}` has {bytes} bytes, at most {MAX_REPLY_BYTES} reach the code; ask for less",
                call.name,
            )));
        }
        let before = text.map(|text| encode(Kind::Text, text.as_bytes())).unwrap_or_default();
        Ok([before, encode(Kind::Reply, &body)].concat())
    });
    match result {
        Ok(frames) => (frames, true),
        Err(error) => {
            let kind = match error.code() {
                code::UNKNOWN_ITEM => "unknown_tool",
                code::LIMIT => "limit",
                _ => "failed",
            };
            let error = ReplyError { kind, message: error.message(), data: error.data() };
            let reply = Reply { id: call.id, value: None, text: None, error: Some(error) };
            (encode(Kind::Reply, &write(&reply)), false)
        }
    }
}

/// Takes the longest text among the fields of a value out of it, if it is a long one; with the name of its field.
fn take_text(value: &mut Value) -> Option<(String, String)> {
    let fields = value.as_object_mut()?.iter_mut();
    let texts = fields.filter_map(|(name, value)| Some((value.as_str()?.len(), name, value)));
    let longest = texts.filter(|(bytes, ..)| *bytes >= LONG_TEXT_BYTES).max_by_key(|(bytes, ..)| *bytes);
    let (_, name, value) = longest?;
    let Value::String(text) = value.take() else { return None };
    Some((name.clone(), text))
}

fn make(ctx: &Context, call: &Call, within: Option<&[String]>) -> ToolResult<Value> {
    if call.name.is_empty() || call.name.len() > MAX_NAME_BYTES {
        return Err(ToolError::new(
            code::UNKNOWN_ITEM,
            format!("names of tools have 1 to {MAX_NAME_BYTES} characters"),
        ));
    }
    if call.name == SECRET {
        return secret(ctx, call, within);
    }
    let answer = ctx.call_tool_within(&call.name, call.arguments.get().as_bytes(), within)?;
    let envelope: Envelope = serde_json::from_slice(&answer)?;
    if envelope.is_error {
        let text = envelope.all_text();
        let text = if text.is_empty() { "the tool failed and did not say why".to_owned() } else { text };
        let error = ToolError::failed(text);
        return Err(envelope.structured.into_iter().fold(error, ToolError::with_data));
    }
    match envelope.structured {
        Some(value) => Ok(value),
        None if envelope.content.iter().all(|block| matches!(block, Content::Text { .. })) => {
            Ok(Value::String(envelope.all_text()))
        }
        None => Ok(serde_json::to_value(envelope.content)?),
    }
}

/// A secret that the operator granted to this plugin, for the code. The server judges and records it by its name.
fn secret(ctx: &Context, call: &Call, within: Option<&[String]>) -> ToolResult<Value> {
    #[derive(Deserialize)]
    #[serde(crate = "llmc_core::serde")]
    struct Named {
        name: String,
    }
    if within.is_some_and(|tools| !tools.iter().any(|tool| tool == SECRET)) {
        return Err(ToolError::denied(format!(
            "this run was limited to some tools, and `{SECRET}` is not among them"
        )));
    }
    let Named { name } = serde_json::from_str(call.arguments.get())?;
    ctx.secret(&name).map(|secret| secret.expose().into())
}

fn write(reply: &Reply<'_>) -> Vec<u8> {
    serde_json::to_vec(reply).expect("a reply is made of JSON values")
}
