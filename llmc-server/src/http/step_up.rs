//! Calls of a tool that the scopes of an access token do not open, while another scope would: 403, with the scope
//! (RFC 6750, 3.1; MCP, "Scope Challenge Handling"), so that the client can ask its person for more.
//!
//! A tool that no scope opens, or that clients cannot call for another reason, is refused as ever: more scopes would not
//! help. Calls below a call are refused as ever, too: the answer to the request may have begun.

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::request::Parts;
use llmc_core::manifest::ItemKind;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::auth::Door;
use super::introduction;
use super::refusal::Refusal;
use crate::call::{CallPath, Caller, Dialog, Identity, Request};

/// As much of a call as has to be known here.
#[derive(Deserialize)]
struct Message {
    id: Value,
    params: Params,
}

#[derive(Deserialize)]
struct Params {
    name: String,
    #[serde(default)]
    arguments: Map<String, Value>,
}

/// The refusal of a call that wants another scope; recorded as every refused call is.
pub(super) async fn wanted(
    door: &Door,
    path: &Arc<CallPath>,
    head: &Parts,
    body: &Bytes,
    method: Option<&str>,
    identity: &Arc<Identity>,
) -> Option<Refusal> {
    if method != Some("tools/call") || identity.until_ms().is_none() {
        return None;
    }
    let Message { id, params: Params { name, arguments } } = serde_json::from_slice(body).ok()?;
    if identity.opens(&name) {
        return None;
    }
    let entry = path.registry.get(&name)?;
    if !path.allows(&Caller::Client, entry) {
        return None;
    }
    let challenge = door.step_up(identity, &name, introduction::is_earlier(head))?;
    // Its tools are not these, so this is refused before anything else is looked at.
    let request = Request {
        caller: Caller::Remote(Arc::clone(identity)),
        origin: Arc::clone(identity.origin()),
        item: ItemKind::Tool,
        tool: name,
        arguments,
        request_id: Some(id.as_str().map_or_else(|| id.to_string(), str::to_owned).into()),
        trace_id: None,
        cancel: tokio_util::sync::CancellationToken::new(),
        progress: None,
        dialog: Dialog::nobody(),
        parent: None,
        span_above: None,
    };
    let refused = path.call(request).await.err()?;
    Some(Refusal { challenge: Some(challenge), ..Refusal::forbidden(refused.message) })
}
