//! Requests of the stateless revision, which say everything in each of them.

use serde_json::{Value, json};

/// What a client that can do these things puts into a request.
pub(crate) fn with_meta(mut params: Value, capabilities: &Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "0"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    });
    params
}

/// The same call with answers and what was handed back.
pub(crate) fn again(params: &Value, answers: Value, state: &Value) -> Value {
    let mut params = params.clone();
    params["inputResponses"] = answers;
    if !state.is_null() {
        params["requestState"] = state.clone();
    }
    params
}

/// A person's answer to the question for consent.
pub(crate) fn consent(yes: bool) -> Value {
    json!({"llmc/confirm": {"action": "accept", "content": {"confirm": yes}}})
}
