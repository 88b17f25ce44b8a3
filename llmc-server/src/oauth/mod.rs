//! The part of an OAuth 2.1 resource server: access tokens as signed JWTs (RFC 9068) are checked here, with the keys of
//! one authorization server; nothing is ever asked of it for a single token.
//!
//! - [`token`]: what a token says and whether it is true.
//! - [`key`]: public keys, and signatures by `ring`.
//! - [`keys`]: the set of keys: from a file, or fetched and kept.
//! - [`fetch`]: one bounded request over HTTPS.
//! - [`metadata`]: what clients are told so that they find the authorization server (RFC 9728).

mod fetch;
mod key;
mod keys;
mod metadata;
mod token;

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::OAuth;
use keys::Keys;
pub(crate) use metadata::{Metadata, PATH};
pub(crate) use token::MAX_BYTES;
use token::{Claims, Parsed};

/// Who is let in by access tokens.
pub(crate) struct Resource {
    config: OAuth,
    keys: Keys,
    pub(crate) metadata: Metadata,
}

/// What a good token says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) name: String,
    /// The only tools that its scopes open; none if they open all.
    pub(crate) tools: Option<BTreeSet<String>>,
}

/// Why a token opens nothing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It is no token of ours, or not any more.
    Invalid(String),
    /// It is good, and for something else.
    Scope(String),
    /// There are no keys to check it with.
    Unavailable(String),
}

impl Resource {
    /// Reads the keys, if they lie in a file, or begins to fetch them.
    ///
    /// # Errors
    ///
    /// When the file cannot be used, or no connection could ever be made.
    pub(crate) async fn open(config: &OAuth) -> anyhow::Result<Self> {
        let keys = Keys::open(config).await?;
        Ok(Self { config: config.clone(), keys, metadata: Metadata::new(config) })
    }

    /// Judges an access token.
    ///
    /// # Errors
    ///
    /// Why it opens nothing.
    pub(crate) async fn subject(&self, token: &str) -> Result<Subject, Refused> {
        let invalid = |reason: &str| Refused::Invalid(reason.to_owned());
        let parsed = Parsed::of(token).map_err(invalid)?;
        if !self.config.algorithms.contains(&parsed.algorithm) {
            return Err(invalid("an algorithm that `server.http.oauth.algorithms` does not name"));
        }
        let key = self.keys.find(&parsed).await?;
        if !key.verifies(parsed.algorithm, parsed.signed, &parsed.signature) {
            return Err(invalid("a signature that is not the authorization server's"));
        }
        let claims = parsed.claims().map_err(invalid)?;
        claims.check(&self.config, now_s()).map_err(invalid)?;
        let Some(name) = claims.name() else {
            return Err(invalid("a token without a usable `sub`"));
        };
        Ok(Subject { tools: self.tools(&claims, &name)?, name })
    }

    /// What the scopes of a token open.
    fn tools(&self, claims: &Claims, name: &str) -> Result<Option<BTreeSet<String>>, Refused> {
        let scopes = claims.scopes();
        let mut opened =
            self.config.scopes.iter().filter(|(scope, _)| scopes.contains(scope.as_str())).peekable();
        if opened.peek().is_none() {
            return Err(Refused::Scope(format!("the token of `{name}` has none of our scopes")));
        }
        let tools: BTreeSet<String> = opened.flat_map(|(_, tools)| tools.iter().cloned()).collect();
        Ok(Some(tools).filter(|tools| !tools.contains("*")))
    }
}

/// Seconds since 1970.
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
