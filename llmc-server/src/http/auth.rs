//! Who sends a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};

use super::rate::{Rate, network};
use super::refusal::Refusal;
use crate::call::Identity;
use crate::telemetry::METRICS;
use crate::tokens::{Live, Scope};

/// Longer ones are not looked at.
const MAX_TOKEN_BYTES: usize = 256;

/// Who is let in.
pub(super) enum Door {
    /// Everybody who got here.
    Open,
    /// Holders of a token.
    Tokens { tokens: Live, failures: Rate<IpAddr> },
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
    pub(super) fn identify(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Arc<Identity>, Rejected> {
        let Self::Tokens { tokens, failures } = self else {
            return Ok(Arc::new(Identity::anonymous()));
        };
        let (counted, reason) = match presented(headers).map(|text| tokens.find(text)) {
            Ok(Some(token)) if !token.is_expired() => return Ok(Arc::new(Identity::of(&token))),
            Ok(Some(token)) => ("expired", format!("token `{}` has expired", token.name)),
            Ok(None) => ("unknown", "unknown or revoked token".to_owned()),
            Err(reason) => ("none", reason.to_owned()),
        };
        METRICS.auth_failure(counted);
        // Only those who have no valid token can be told to wait: others behind the same address are let in.
        Err(match failures.take(&network(peer), Instant::now()) {
            Ok(()) => Rejected { refusal: Refusal::new(StatusCode::UNAUTHORIZED, reason), recorded: true },
            Err(wait) => {
                let reason = "too many requests without a valid token from this address";
                Rejected {
                    refusal: Refusal::wait(StatusCode::TOO_MANY_REQUESTS, reason, wait),
                    recorded: false,
                }
            }
        })
    }
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
fn presented(headers: &HeaderMap) -> Result<&str, &'static str> {
    let value = headers.get(header::AUTHORIZATION).ok_or("no token")?;
    let value = value.to_str().map_err(|_| "the header `authorization` is not text")?;
    let (scheme, token) =
        value.split_once(' ').ok_or("the header `authorization` holds no `Bearer TOKEN`")?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("the header `authorization` holds no `Bearer TOKEN`");
    }
    match token.len() {
        1..=MAX_TOKEN_BYTES => Ok(token),
        _ => Err("the token has an impossible length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_token_is_looked_at() {
        let of = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            presented(&headers).map(str::to_owned)
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
        assert!(presented(&HeaderMap::new()).is_err());
    }
}
