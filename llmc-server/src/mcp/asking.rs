//! Asking the client, in both ways that there are: by a request while a call waits, and by the result of a call.
//!
//! Sampling and roots are about to leave the protocol (SEP-2577); as long as clients know them, plugins may ask.

use std::sync::Arc;

use llmc_core::ask::{Client, ELICIT, Question, ROOTS, SAMPLE};
use rmcp::RoleServer;
use rmcp::model::{
    ClientCapabilities, ClientResult, ErrorCode, InputRequest, InputRequests, InputRequiredResult,
    InputResponses, ProtocolVersion, ServerRequest,
};
use rmcp::service::{Peer, RequestContext, ServiceError};
use serde_json::{Value, json};

use crate::call::{Asker, Asking, Dialog, Round, Unanswered};

/// Whether requests say everything themselves, and clients are asked by results.
pub(super) fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

/// Whom a request's call can ask. `reachable` says that a request to its client is answered.
pub(super) fn dialog(
    context: &RequestContext<RoleServer>,
    reachable: Reachable,
    state: Option<String>,
    answers: Option<InputResponses>,
) -> Arc<Dialog> {
    let said = || context.client_capabilities().as_ref().map_or_else(Client::default, client_of);
    if is_stateless(context) {
        let client = said();
        return Dialog::rounds(client, state, answers.unwrap_or_default());
    }
    let client = match reachable {
        Reachable::No => return Dialog::nobody(),
        Reachable::Knowing => {
            context.client_capabilities().map_or_else(Client::default, |client| client_of(&client))
        }
        // Without a session its capabilities were not said again. Who cannot answer says so.
        Reachable::Unknowing => Client { elicitation: true, sampling: true, roots: true },
    };
    let elicits = context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2025_06_18);
    let client = Client { elicitation: client.elicitation && elicits, ..client };
    Dialog::live(client, Arc::new(Requests(context.peer.clone())))
}

/// Whether requests to a client of an earlier revision reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reachable {
    No,
    /// They do, and it said what it can be asked.
    Knowing,
    /// They do.
    Unknowing,
}

/// What a client can be asked, by its own word.
pub(crate) fn client_of(client: &ClientCapabilities) -> Client {
    // A client that says nothing of modes has forms; one that names modes has those.
    let forms = client.elicitation.as_ref().is_some_and(|modes| modes.form.is_some() || modes.url.is_none());
    Client { elicitation: forms, sampling: client.sampling.is_some(), roots: client.roots.is_some() }
}

/// The capabilities behind what a client can be asked.
pub(crate) fn capabilities_of(client: Client) -> ClientCapabilities {
    let names = [("elicitation", client.elicitation), ("sampling", client.sampling), ("roots", client.roots)];
    let named = names.into_iter().filter(|(_, can)| *can).map(|(name, _)| (name.to_owned(), json!({})));
    // Each of them may be empty.
    serde_json::from_value(Value::Object(named.collect())).unwrap_or_default()
}

/// The capability behind a question.
pub(super) fn capability(method: &str) -> ClientCapabilities {
    let is = |known: &str| known == method;
    capabilities_of(Client { elicitation: is(ELICIT), sampling: is(SAMPLE), roots: is(ROOTS) })
}

/// The result that asks.
pub(super) fn required(round: Round) -> InputRequiredResult {
    let requests: InputRequests = round
        .questions
        .into_iter()
        .filter_map(|(key, question)| Some((key, request(question).ok()?)))
        .collect();
    InputRequiredResult::new(Some(requests).filter(|requests| !requests.is_empty()), Some(round.state))
}

/// Asks by requests.
struct Requests(Peer<RoleServer>);

impl Asker for Requests {
    fn ask(&self, _key: &str, question: Question) -> Asking {
        let peer = self.0.clone();
        Box::pin(async move {
            let request = match request(question).map_err(Unanswered::Failed)? {
                InputRequest::CreateMessage(request) => ServerRequest::CreateMessageRequest(request),
                InputRequest::Elicitation(request) => ServerRequest::ElicitRequest(request),
                InputRequest::ListRoots(request) => ServerRequest::ListRootsRequest(request),
                _ => return Err(Unanswered::Unknown),
            };
            match peer.send_request(request).await {
                Ok(answer) => {
                    plain(answer).ok_or_else(|| Unanswered::Failed("the answer is none".to_owned()))
                }
                Err(ServiceError::McpError(error)) if error.code == ErrorCode::METHOD_NOT_FOUND => {
                    Err(Unanswered::Unknown)
                }
                Err(ServiceError::McpError(error)) => {
                    Err(Unanswered::Failed(format!("the client says: {}", error.message)))
                }
                Err(error) => Err(Unanswered::Failed(error.to_string())),
            }
        })
    }
}

/// A question as a request of the protocol; what is none is refused.
pub(super) fn request(question: Question) -> Result<InputRequest, String> {
    let Question { method, params } = question;
    if ![ELICIT, SAMPLE, ROOTS].contains(&method.as_str()) {
        return Err(format!("`{}` is no question", method.escape_debug()));
    }
    let request = match method.as_str() {
        ROOTS => json!({"method": method}),
        _ => json!({"method": method, "params": params}),
    };
    serde_json::from_value(request).map_err(|error| format!("the question cannot be read: {error}"))
}

fn plain(answer: ClientResult) -> Option<Value> {
    serde_json::to_value(answer).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use llmc_core::ask::Questions;

    use super::*;

    #[test]
    fn every_question_of_a_plugin_is_a_request() {
        let questions = Questions::new()
            .elicit("a", "Name?", json!({"n": {"type": "string"}}), &["n"])
            .sample("b", "?", 9)
            .roots("c");
        let kinds: Vec<Value> = questions
            .ask
            .into_values()
            .map(|question| serde_json::to_value(request(question).unwrap()).unwrap()["method"].clone())
            .collect();
        assert_eq!(kinds, [ELICIT, SAMPLE, ROOTS]);
        let odd = |method: &str, params| request(Question { method: method.into(), params });
        assert!(odd("ping", json!({})).is_err());
        assert!(odd(ELICIT, json!({"message": 5})).is_err());
    }

    #[test]
    fn a_client_without_forms_is_not_asked_to_show_one() {
        let client = |value| client_of(&serde_json::from_value(value).unwrap());
        assert!(client(json!({"elicitation": {}})).elicitation);
        assert!(client(json!({"elicitation": {"form": {}, "url": {}}})).elicitation);
        assert!(!client(json!({"elicitation": {"url": {}}})).elicitation);
        assert!(!client(json!({})).elicitation);
        assert!(capability(SAMPLE).sampling.is_some() && capability(SAMPLE).elicitation.is_none());
    }
}
