//! Tokens of HTTP clients: made here, shown once, kept as digests.
//!
//! A token is 32 random bytes, so nobody finds it by trying; its SHA-256 is as good as a slow hash would be, which
//! helps passwords that people choose. The file therefore holds nothing that could be presented, and is its owner's
//! alone all the same.

mod file;
mod live;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::audit::now_ms;
use crate::config::Config;
pub(crate) use file::File;
pub(crate) use live::Live;

/// Says what a found string is: to people, and to scanners that look for leaked secrets.
const PREFIX: &str = "llmc_";

const RANDOM_BYTES: usize = 32;

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    pub(crate) name: String,
    /// SHA-256 of the whole token, in hexadecimal.
    pub(crate) sha256: String,
    /// The only tools that it opens, directly and by code; without them all that clients may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tools: Option<BTreeSet<String>>,
    /// What else than calling it is good for; without them for calling alone.
    #[serde(default = "calling", skip_serializing_if = "is_calling")]
    pub(crate) scopes: BTreeSet<Scope>,
    /// Milliseconds since 1970 in UTC.
    pub(crate) created_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_ms: Option<u64>,
}

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scope {
    /// Calling tools.
    Call,
    /// Reading `/metrics`.
    Metrics,
    /// The console, and `/metrics`.
    Admin,
}

/// What a token is good for of which nothing else was said.
pub(crate) fn calling() -> BTreeSet<Scope> {
    BTreeSet::from([Scope::Call])
}

fn is_calling(scopes: &BTreeSet<Scope>) -> bool {
    *scopes == calling()
}

impl Token {
    /// Makes a token, and the text that opens it.
    ///
    /// # Errors
    ///
    /// When the kernel gives no random bytes.
    pub(crate) fn create(
        name: &str,
        tools: Option<BTreeSet<String>>,
        lifetime: Option<Duration>,
    ) -> std::io::Result<(Self, String)> {
        let mut bytes = [0; RANDOM_BYTES];
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let created_ms = now_ms();
        let expires = |lifetime: Duration| {
            created_ms.saturating_add(u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX))
        };
        let expires_ms = lifetime.map(expires);
        let token = Self {
            name: name.to_owned(),
            sha256: digest(&text),
            tools,
            scopes: calling(),
            created_ms,
            expires_ms,
        };
        Ok((token, text))
    }

    /// The same token, good for this.
    pub(crate) fn with_scopes(self, scopes: BTreeSet<Scope>) -> Self {
        Self { scopes, ..self }
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms())
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file that the configuration names, else `llmc/tokens.json` in the state folder of the XDG Base Directory
/// Specification.
///
/// # Errors
///
/// When there is no such folder.
pub(crate) fn path(config: &Config) -> anyhow::Result<PathBuf> {
    if let Some(path) = config.server.http.as_ref().and_then(|http| http.tokens.clone()) {
        return Ok(path);
    }
    let folder = state_folder();
    let folder = folder.ok_or_else(|| {
        anyhow::anyhow!(
            "neither XDG_STATE_HOME nor HOME is set; write where tokens are kept as `server.http.tokens`"
        )
    })?;
    Ok(folder.join("llmc/tokens.json"))
}

/// `$XDG_STATE_HOME`, or `~/.local/state`.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_random_and_only_their_digest_is_kept() {
        let (first, text) = Token::create("a", None, None).unwrap();
        let (second, other) = Token::create("a", None, None).unwrap();
        assert_ne!(text, other);
        assert_ne!(first.sha256, second.sha256);
        assert_eq!(text.len(), PREFIX.len() + 43);
        assert!(!serde_json::to_string(&first).unwrap().contains(&text[PREFIX.len()..]));
        assert_eq!(first.sha256, digest(&text));
    }

    #[test]
    fn they_expire_when_they_should() {
        let expired = |lifetime| Token::create("a", None, lifetime).unwrap().0.is_expired();
        assert!(!expired(None) && !expired(Some(Duration::from_hours(1))) && !expired(Some(Duration::MAX)));
        assert!(expired(Some(Duration::ZERO)));
    }
}
