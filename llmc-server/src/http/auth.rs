//! Who sends a request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};

use super::peer::{Client, Counted};
use super::rate::Rate;
use super::refusal::Refusal;
use crate::call::Identity;
use crate::oauth::{self, Metadata, Refused, Resource};
use crate::telemetry::METRICS;
use crate::tokens::{Live, Scope};

/// Longer ones are not looked at.
const MAX_TOKEN_BYTES: usize = 256;

/// Who is let in.
pub(super) enum Door {
    /// Everybody who got here.
    Open,
    /// Holders of a token.
    Tokens { tokens: Live, failures: Rate<Counted> },
    /// Holders of an access token of an authorization server.
    OAuth { resource: Box<Resource>, failures: Rate<Counted> },
}

/// A request that is not let in, and whether it is worth a record: of a flood the first ones tell enough.
pub(super) struct Rejected {
    pub(super) refusal: Refusal,
    pub(super) recorded: bool,
}

impl Door {
    /// # Errors
    ///
    /// Why nobody is let in.
    pub(super) async fn identify(
        &self,
        headers: &HeaderMap,
        client: Client,
    ) -> Result<Arc<Identity>, Rejected> {
        let (counted, refusal, failures) = match self {
            Self::Open => {
                return Ok(Arc::new(match client {
                    Client::Net(_) => Identity::anonymous(),
                    Client::Local { uid, .. } => Identity::local(uid),
                }));
            }
            Self::Tokens { tokens, failures } => match holder(tokens, headers) {
                Ok(identity) => return Ok(Arc::new(identity)),
                Err((counted, reason)) => (counted, Refusal::new(StatusCode::UNAUTHORIZED, reason), failures),
            },
            Self::OAuth { resource, failures } => match subject(resource, headers).await {
                Ok(identity) => return Ok(Arc::new(identity)),
                Err(refusal) => ("oauth", refusal, failures),
            },
        };
        METRICS.auth_failure(counted);
        // Only those who have no valid token can be told to wait: others behind the same address are let in.
        Err(match failures.take(&client.counted(), Instant::now()) {
            Ok(()) => Rejected { refusal, recorded: true },
            Err(wait) => {
                let reason = "too many requests without a valid token from this address";
                Rejected {
                    refusal: Refusal::wait(StatusCode::TOO_MANY_REQUESTS, reason, wait),
                    recorded: false,
                }
            }
        })
    }

    /// What would let a token do this, where scopes of access tokens do.
    pub(super) fn challenge(&self, scope: Scope) -> Option<String> {
        let Self::OAuth { resource, .. } = self else { return None };
        let scopes = Some(resource.scopes_for(scope)).filter(|scopes| !scopes.is_empty())?;
        Some(resource.metadata.challenge_for("insufficient_scope", &scopes, None))
    }

    /// What would let the holder of an access token call a tool, if one of our scopes does.
    ///
    /// In revisions before 2026-07-28 a challenge names what the token has already, too: a client asks for what it reads
    /// there and nothing else. Later ones add it to what they have.
    pub(super) fn step_up(&self, identity: &Identity, tool: &str, is_earlier: bool) -> Option<String> {
        let Self::OAuth { resource, .. } = self else { return None };
        let opening = resource.scope_opening(tool)?;
        let held = identity.scopes_held().filter(|_| is_earlier).into_iter().flatten();
        let mut scopes: Vec<&str> = held.chain([opening]).collect();
        scopes.sort_unstable();
        scopes.dedup();
        let description = format!("{tool} needs another scope");
        Some(resource.metadata.challenge_for("insufficient_scope", &scopes.join(" "), Some(&description)))
    }

    /// What clients are told about access tokens, where these are taken.
    pub(super) fn metadata(&self) -> Option<&Metadata> {
        match self {
            Self::OAuth { resource, .. } => Some(&resource.metadata),
            Self::Open | Self::Tokens { .. } => None,
        }
    }
}

/// The holder of one of our own tokens.
///
/// # Errors
///
/// Why nobody holds it, as it is counted and as it is told.
fn holder(tokens: &Live, headers: &HeaderMap) -> Result<Identity, (&'static str, String)> {
    match presented(headers, MAX_TOKEN_BYTES).map(|text| tokens.find(text)) {
        Ok(Some(token)) if !token.is_expired() => Ok(Identity::of(&token)),
        Ok(Some(token)) => Err(("expired", format!("token `{}` has expired", token.name))),
        Ok(None) => Err(("unknown", "unknown or revoked token".to_owned())),
        Err(reason) => Err(("none", reason.to_owned())),
    }
}

/// Whom an access token speaks of.
async fn subject(resource: &Resource, headers: &HeaderMap) -> Result<Identity, Refusal> {
    let challenged = |status, reason: String, error: Option<&str>| Refusal {
        challenge: Some(resource.metadata.challenge(error)),
        ..Refusal::new(status, reason)
    };
    // RFC 6750, 3.1: who has presented nothing has made no error.
    if !headers.contains_key(header::AUTHORIZATION) {
        return Err(challenged(StatusCode::UNAUTHORIZED, "no token".into(), None));
    }
    let judged = match presented(headers, oauth::MAX_BYTES) {
        Ok(token) => resource.subject(token).await,
        Err(reason) => Err(Refused::Invalid(reason.to_owned())),
    };
    judged.map(Identity::of_subject).map_err(|refused| match refused {
        Refused::Invalid(reason) => challenged(StatusCode::UNAUTHORIZED, reason, Some("invalid_token")),
        Refused::Scope(reason) => challenged(StatusCode::FORBIDDEN, reason, Some("insufficient_scope")),
        Refused::Unavailable(reason) => {
            Refusal::wait(StatusCode::SERVICE_UNAVAILABLE, reason, Duration::from_secs(5))
        }
    })
}

impl Door {
    /// Whether the token of this origin still opens this, for what lasts longer than a request.
    pub(super) fn holds(&self, origin: &str, scope: Scope) -> bool {
        let Self::Tokens { tokens, .. } = self else { return false };
        tokens.tokens().iter().filter(|token| !token.is_expired()).any(|token| {
            let identity = Identity::of(token);
            **identity.origin() == *origin && identity.may(scope)
        })
    }
}

/// The token of `Authorization: Bearer TOKEN`.
fn presented(headers: &HeaderMap, max_bytes: usize) -> Result<&str, &'static str> {
    let value = headers.get(header::AUTHORIZATION).ok_or("no token")?;
    let value = value.to_str().map_err(|_| "the header `authorization` is not text")?;
    let (scheme, token) =
        value.split_once(' ').ok_or("the header `authorization` holds no `Bearer TOKEN`")?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("the header `authorization` holds no `Bearer TOKEN`");
    }
    match (1..=max_bytes).contains(&token.len()) {
        true => Ok(token),
        false => Err("the token has an impossible length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_looked_at() {
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            presented(&headers, MAX_TOKEN_BYTES).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc").as_deref(), Ok("abc"));
        assert_eq!(of("bearer abc").as_deref(), Ok("abc"));
        for value in [
            "",
            "abc",
            "Bearer",
            "Bearer ",
            "Basic abc",
            "BearerX abc",
            &format!("Bearer {}", "a".repeat(257)),
        ] {
            assert!(of(value).is_err(), "{value}");
        }
        assert!(presented(&HeaderMap::new(), MAX_TOKEN_BYTES).is_err());
    }
}
