//! A client that came over the network: its name, and what its token opens.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::oauth::Subject;
use crate::tokens::{Scope, Token, calling};

/// Digits of a token's digest that tell it from another one that had the same name before.
const DIGEST_DIGITS: usize = 16;

/// What a client may always call, since it only reads on in results of its own.
const ALWAYS: &str = "read_more";

/// Who sends a request over the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    shown: String,
    origin: Arc<str>,
    tools: Option<Arc<BTreeSet<String>>>,
    scopes: BTreeSet<Scope>,
    /// Of an access token.
    access: Option<Arc<Access>>,
}

/// What is known of an access token beside whom it speaks of.
#[derive(Debug, PartialEq, Eq)]
struct Access {
    /// Those of our scopes for tools that it has.
    held: BTreeSet<String>,
    /// When it is none any more, in milliseconds since 1970.
    until_ms: u64,
}

impl Identity {
    /// Anybody, where no token is asked for.
    pub(crate) fn anonymous() -> Self {
        Self::plain("http".to_owned())
    }

    /// Anybody who may connect to our Unix socket, where no token is asked for.
    pub(crate) fn local(uid: u32) -> Self {
        Self::plain(format!("http uid {uid}"))
    }

    fn plain(shown: String) -> Self {
        Self { origin: shown.as_str().into(), shown, tools: None, scopes: calling(), access: None }
    }

    /// The holder of a token.
    pub(crate) fn of(token: &Token) -> Self {
        let digits = token.sha256.get(..DIGEST_DIGITS).unwrap_or(&token.sha256);
        Self {
            shown: format!("token {}", token.name),
            origin: format!("token {} {digits}", token.name).into(),
            tools: token.tools.clone().map(Arc::new),
            scopes: token.scopes.clone(),
            access: None,
        }
    }

    /// Whom an access token speaks of.
    pub(crate) fn of_subject(subject: Subject) -> Self {
        let Subject { name, tools, scopes, held, until_ms } = subject;
        let (tools, access) = (tools.map(Arc::new), Some(Arc::new(Access { held, until_ms })));
        Self { tools, scopes, access, ..Self::plain(format!("oauth {name}")) }
    }

    /// Scopes for tools that its access token has.
    pub(crate) fn scopes_held(&self) -> Option<impl Iterator<Item = &str>> {
        self.access.as_ref().map(|access| access.held.iter().map(String::as_str))
    }

    /// When its access token is none any more, in milliseconds since 1970.
    pub(crate) fn until_ms(&self) -> Option<u64> {
        self.access.as_ref().map(|access| access.until_ms)
    }

    /// For the log and the audit.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// For whom its calls are made, see [`super::Request::origin`].
    pub(crate) fn origin(&self) -> &Arc<str> {
        &self.origin
    }

    /// The only tools that it may use, if that is limited.
    pub(super) fn tools(&self) -> Option<&Arc<BTreeSet<String>>> {
        self.tools.as_ref()
    }

    /// Whether its token is good for this; one for administrators is good for the numbers, too.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        let is_enough = |own: &Scope| *own == scope || (*own == Scope::Admin && scope == Scope::Metrics);
        self.scopes.iter().any(is_enough)
    }

    /// Whether its token opens a tool.
    pub(crate) fn opens(&self, tool: &str) -> bool {
        self.tools().is_none_or(|tools| contains(tools, tool))
    }
}

/// For whom calls of one connection over stdio are made, see [`super::Request::origin`]. No other connection has the
/// same, nor one of another server: what a plugin keeps on disk for its caller outlives both.
pub(crate) fn origin_of_connection() -> Arc<str> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!("client {} {since} {}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)).into()
}

/// Whether a token with these tools opens one.
pub(super) fn contains(tools: &BTreeSet<String>, tool: &str) -> bool {
    tool == ALWAYS || tools.contains(tool)
}
