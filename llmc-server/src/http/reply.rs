//! Answers, with the headers that every one of them has.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::json;

use super::refusal::Refusal;

pub(super) type Reply = Response<BoxBody<Bytes, Infallible>>;

/// A browser must neither keep, nor guess at, nor show, nor lend to other pages what is answered here.
const HEADERS: [(header::HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

pub(super) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()).boxed());
    *reply.status_mut() = status;
    reply
}

pub(super) fn json(status: StatusCode, body: &serde_json::Value) -> Reply {
    let mut reply = plain(status, body.to_string());
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// Numbers, in the text format of OpenMetrics, which Prometheus reads.
pub(super) fn metrics(text: String) -> Reply {
    let mut reply = plain(StatusCode::OK, text);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

/// The connection ends with it: what else is in it nobody wants to read.
pub(super) fn refused(refusal: &Refusal) -> Reply {
    let mut reply = json(refusal.status, &json!({ "error": refusal.shown() }));
    let headers = reply.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(allow) = refusal.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(wait) = refusal.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs() + 1));
    }
    let challenge = refusal.challenge.as_ref().and_then(|challenge| HeaderValue::from_str(challenge).ok());
    let realm = || HeaderValue::from_static("Bearer realm=\"llmc\"");
    if let Some(challenge) = challenge.or_else(|| (refusal.status == StatusCode::UNAUTHORIZED).then(realm)) {
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    reply
}

/// What a browser is told before a page of an allowed origin sends a message.
pub(super) fn preflight() -> Reply {
    let mut reply = plain(StatusCode::NO_CONTENT, Bytes::new());
    let headers = reply.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    let allowed = "accept, authorization, content-type, mcp-method, mcp-name, mcp-protocol-version, mcp-session-id, traceparent";
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allowed));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    reply
}

/// Adds what every answer has. `origin` is one that was allowed.
pub(super) fn finished(mut reply: Reply, origin: Option<HeaderValue>) -> Reply {
    let headers = reply.headers_mut();
    for (name, value) in HEADERS {
        // A page of the console has a policy of its own.
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.insert(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("mcp-session-id, retry-after, www-authenticate"),
        );
    }
    reply
}

/// Keeps something until an answer was sent, or its client left.
pub(super) fn holding<T: Send + Sync + Unpin + 'static>(reply: Reply, held: T) -> Reply {
    reply.map(|body| Holding { body, _held: held }.boxed())
}

struct Holding<T> {
    body: BoxBody<Bytes, Infallible>,
    _held: T,
}

impl<T: Unpin> Body for Holding<T> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
