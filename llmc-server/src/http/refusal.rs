//! Requests that are not served: a status and a word for the client, a reason for the operator's log.

use std::time::Duration;

use hyper::StatusCode;

/// Why a request is not served.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// For the log; of a malformed request also for the client, whose author has to mend it.
    pub(super) reason: String,
    /// Methods that there are, with 405.
    pub(super) allow: Option<&'static str>,
    /// When to come back, with 429 and 503.
    pub(super) retry_after: Option<Duration>,
    /// What would let the client in, with 401 and 403.
    pub(super) challenge: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into(), allow: None, retry_after: None, challenge: None }
    }

    pub(super) fn bad_request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    pub(super) fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, reason)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    pub(super) fn method(allow: &'static str) -> Self {
        let refusal = Self::new(StatusCode::METHOD_NOT_ALLOWED, "there is no such method here");
        Self { allow: Some(allow), ..refusal }
    }

    pub(super) fn wait(status: StatusCode, reason: impl Into<String>, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..Self::new(status, reason) }
    }

    /// What the client is told. Who is refused for what he is learns no more than that.
    pub(super) fn shown(&self) -> &str {
        let is_secret =
            matches!(self.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND);
        match is_secret {
            true => self.status.canonical_reason().unwrap_or_default(),
            false => &self.reason,
        }
    }
}
