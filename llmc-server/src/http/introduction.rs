//! What a client of an earlier revision said of itself when it shook hands.
//!
//! Those revisions say it once and refer to it by `Mcp-Session-Id`. Here that is no key to anything the server keeps:
//! it holds what was said, sealed for whoever said it. So there is still no session to steal, fill up or clean. A
//! client that does not send it is served, too.

use std::borrow::Cow;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use llmc_core::ask::Client;
use rmcp::model::{ClientCapabilities, ProtocolVersion};
use serde::Deserialize;

use super::refusal::Refusal;
use super::reply::Reply;
use crate::call::{Identity, Seal};
use crate::mcp::client_of;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The method of a message; none if it is an answer, or no message at all.
pub(super) fn method(body: &[u8]) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow, default)]
        method: Option<Cow<'a, str>>,
    }
    serde_json::from_slice::<Message<'_>>(body).ok()?.method
}

/// Whether a request is one of the revisions that shake hands first.
pub(super) fn is_earlier(head: &Parts) -> bool {
    match head.headers.get(VERSION) {
        // Revisions are dates, so they compare as texts.
        Some(version) => {
            version.to_str().is_ok_and(|version| version < ProtocolVersion::V_2026_07_28.as_str())
        }
        None => true,
    }
}

/// The revision that a request names, if it is a known one.
pub(super) fn version(head: &Parts) -> Option<ProtocolVersion> {
    let Some(named) = head.headers.get(VERSION) else { return Some(ProtocolVersion::V_2025_03_26) };
    let named = named.to_str().ok()?;
    ProtocolVersion::KNOWN_VERSIONS.iter().find(|known| known.as_str() == named).cloned()
}

/// What the sender of a request said before, if it shows that.
///
/// # Errors
///
/// 404 if it shows something that it was not given; as the protocol has it, a client then shakes hands again.
pub(super) fn shown(
    head: &Parts,
    method: Option<&str>,
    identity: &Identity,
    seal: &Seal,
) -> Result<Option<Client>, Refusal> {
    let earlier = is_earlier(head) && method != Some("initialize");
    let Some(shown) = head.headers.get(SESSION).filter(|_| earlier) else { return Ok(None) };
    let read = shown.to_str().ok().and_then(|shown| seal.read_mark(shown, identity.origin().as_bytes()));
    let unknown = || Refusal::new(StatusCode::NOT_FOUND, "there is no such session; initialize again");
    read.map(Some).ok_or_else(unknown)
}

/// What a client says of itself in `initialize`.
pub(super) fn first(body: &[u8]) -> Option<Client> {
    #[derive(Deserialize)]
    struct Message {
        params: Params,
    }
    #[derive(Deserialize)]
    struct Params {
        capabilities: ClientCapabilities,
    }
    let message: Message = serde_json::from_slice(body).ok()?;
    Some(client_of(&message.params.capabilities))
}

/// Hands it to the client with the answer to its `initialize`.
pub(super) fn noted(mut reply: Reply, client: Client, identity: &Identity, seal: &Seal) -> Reply {
    let mark = seal.mark(&client, identity.origin().as_bytes());
    let mark = mark.and_then(|mark| HeaderValue::from_str(&mark).ok());
    if let Some(mark) = mark.filter(|_| reply.status() == StatusCode::OK) {
        reply.headers_mut().insert(SESSION, mark);
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = hyper::Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn what_was_said_is_good_for_its_sender_alone() {
        let (seal, identity) = (Seal::open(None).unwrap(), Identity::anonymous());
        let client = Client { elicitation: true, ..Client::default() };
        let reply = super::super::reply::plain(StatusCode::OK, "");
        let reply = noted(reply, client, &identity, &seal);
        let mark = reply.headers()[&SESSION].to_str().unwrap().to_owned();
        let shown = |mark: &str, method| shown(&head(&[("mcp-session-id", mark)]), method, &identity, &seal);
        assert_eq!(shown(&mark, Some("ping")).unwrap(), Some(client));
        for wrong in ["", "x", "x.y", &format!("{mark}x")] {
            assert_eq!(shown(wrong, Some("ping")).unwrap_err().status, StatusCode::NOT_FOUND, "{wrong}");
            assert_eq!(shown(wrong, Some("initialize")).unwrap(), None, "it begins anew");
        }
        let later = head(&[("mcp-session-id", "x"), ("mcp-protocol-version", "2026-07-28")]);
        assert_eq!(super::shown(&later, Some("tools/list"), &identity, &seal).unwrap(), None);
    }

    #[test]
    fn an_answer_that_fails_carries_nothing() {
        let reply = super::super::reply::plain(StatusCode::BAD_REQUEST, "");
        let reply = noted(reply, Client::default(), &Identity::anonymous(), &Seal::open(None).unwrap());
        assert!(!reply.headers().contains_key(&SESSION));
    }

    #[test]
    fn messages_are_told_apart() {
        assert_eq!(method(br#"{"id": 1, "method": "ping"}"#).as_deref(), Some("ping"));
        assert_eq!(method(br#"{"id": 1, "result": {"method": "ping"}}"#), None);
        assert_eq!(method(b"{"), None);
        let initialize = br#"{"method": "initialize", "params": {"capabilities": {"sampling": {}}}}"#;
        assert_eq!(first(initialize), Some(Client { sampling: true, ..Client::default() }));
        assert_eq!(version(&head(&[])), Some(ProtocolVersion::V_2025_03_26));
        assert_eq!(version(&head(&[("mcp-protocol-version", "1999-01-01")])), None);
    }
}
