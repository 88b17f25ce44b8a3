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
use crate::tokens::Scope;
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
    /// What else they open, beside tools.
    pub(crate) scopes: BTreeSet<Scope>,
    /// Those of our scopes for tools that it has.
    pub(crate) held: BTreeSet<String>,
    /// When it is none any more, in milliseconds since 1970.
    pub(crate) until_ms: u64,
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
        let scopes = self.scopes(&claims, &name)?;
        let held = self.held(&claims);
        let tools: BTreeSet<String> =
            held.iter().filter_map(|scope| self.config.scopes.get(scope)).flatten().cloned().collect();
        let tools = Some(tools).filter(|tools| !tools.contains("*"));
        Ok(Subject { tools, scopes, held, until_ms: claims.until_ms(&self.config), name })
    }

    /// What the scopes of a token open, beside which tools.
    fn scopes(&self, claims: &Claims, name: &str) -> Result<BTreeSet<Scope>, Refused> {
        let of_token = claims.scopes();
        let has =
            |scope: &Option<String>| scope.as_ref().is_some_and(|scope| of_token.contains(scope.as_str()));
        let opened = [
            (Scope::Call, !self.held(claims).is_empty()),
            (Scope::Metrics, has(&self.config.metrics_scope)),
            (Scope::Admin, has(&self.config.admin_scope)),
        ];
        let scopes: BTreeSet<Scope> =
            opened.into_iter().filter(|(_, is)| *is).map(|(scope, _)| scope).collect();
        match scopes.is_empty() {
            true => Err(Refused::Scope(format!("the token of `{name}` has none of our scopes"))),
            false => Ok(scopes),
        }
    }

    fn held(&self, claims: &Claims) -> BTreeSet<String> {
        let of_token = claims.scopes();
        self.config.scopes.keys().filter(|scope| of_token.contains(scope.as_str())).cloned().collect()
    }

    /// Scopes that are good for something, separated by blanks; any of them will do.
    pub(crate) fn scopes_for(&self, scope: Scope) -> String {
        let OAuth { scopes, admin_scope, metrics_scope, .. } = &self.config;
        let names: Vec<&str> = match scope {
            Scope::Call => scopes.keys().map(String::as_str).collect(),
            Scope::Metrics => metrics_scope.as_deref().or(admin_scope.as_deref()).into_iter().collect(),
            Scope::Admin => admin_scope.as_deref().into_iter().collect(),
        };
        names.join(" ")
    }

    /// The scope that opens a tool and least beside it.
    pub(crate) fn scope_opening(&self, tool: &str) -> Option<&str> {
        let opens = |tools: &&Vec<String>| tools.iter().any(|opened| opened == tool || opened == "*");
        let breadth =
            |tools: &Vec<String>| if tools.iter().any(|tool| tool == "*") { usize::MAX } else { tools.len() };
        let opening = self.config.scopes.iter().filter(|(_, tools)| opens(tools));
        opening.min_by_key(|(_, tools)| breadth(tools)).map(|(scope, _)| scope.as_str())
    }
}

/// Seconds since 1970.
fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
