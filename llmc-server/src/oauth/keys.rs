//! The keys of the authorization server: from a file that is read again when it changes, or from a URL whose answer is
//! kept. Tokens with unknown keys are anybody's, so they bring about a fetch only now and then.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::{info, warn};

use super::Refused;
use super::fetch::Fetcher;
use super::key::{self, Key};
use super::token::Parsed;
use crate::config::OAuth;
use crate::files::{self, Version};

/// Largest set.
const MAX_BYTES: usize = 256 << 10;

/// A set is fetched anew after this.
const FRESH: Duration = Duration::from_mins(10);

/// While it cannot be fetched, the old set counts for this long: a key that was withdrawn must not count for ever.
const STALE: Duration = Duration::from_hours(24);

pub(super) struct Keys {
    source: Source,
    known: Mutex<Known>,
    /// Held by the one who fetches.
    fetching: tokio::sync::Mutex<()>,
    pause: Duration,
}

enum Source {
    File(PathBuf),
    Url(Fetcher),
}

#[derive(Default)]
struct Known {
    keys: Arc<[Key]>,
    version: Option<Version>,
    /// When the keys came.
    fetched: Option<Instant>,
    /// When they were asked for last, with or without success.
    tried: Option<Instant>,
}

impl Keys {
    pub(super) async fn open(config: &OAuth) -> anyhow::Result<Self> {
        let source = match config.jwks_url() {
            Some(url) => Source::Url(Fetcher::new(url, config.jwks_ca.as_deref())?),
            None => Source::File(PathBuf::from(&config.jwks)),
        };
        let pause = Duration::from_secs(config.jwks_pause_s);
        let keys = Self { source, known: Mutex::default(), fetching: tokio::sync::Mutex::default(), pause };
        match &keys.source {
            Source::File(file) => {
                let read = read(file).map_err(anyhow::Error::msg);
                let read = read.with_context(|| format!("server.http.oauth.jwks: `{}`", file.display()))?;
                let (mut known, version) = (keys.known(), Version::at(file));
                (known.keys, known.version) = (read, version);
            }
            // It may be down just now; until it is up, nobody is let in.
            Source::Url(fetcher) => keys.fetch(fetcher, Instant::now()).await,
        }
        Ok(keys)
    }

    /// The key that a token says it was signed with.
    pub(super) async fn find(&self, token: &Parsed<'_>) -> Result<Key, Refused> {
        match &self.source {
            Source::File(file) => self.look_again(file),
            Source::Url(fetcher) => {
                let is_due = |fetched: Option<Instant>| fetched.is_none_or(|at| at.elapsed() >= FRESH);
                let (due, unknown) = {
                    let known = self.known();
                    (is_due(known.fetched), fitting(&known.keys, token).is_none())
                };
                if due || unknown {
                    self.fetch(fetcher, Instant::now()).await;
                }
            }
        }
        let known = self.known();
        if known.keys.is_empty() || known.fetched.is_some_and(|at| at.elapsed() >= STALE) {
            return Err(Refused::Unavailable("there are no keys to check tokens with".into()));
        }
        fitting(&known.keys, token).cloned().ok_or_else(|| {
            Refused::Invalid("a token of a key that the authorization server does not publish".into())
        })
    }

    /// Fetches the set, unless that was tried just now. `asked` is when the need was seen: who waited while another one
    /// fetched has what he wanted.
    async fn fetch(&self, fetcher: &Fetcher, asked: Instant) {
        let _turn = self.fetching.lock().await;
        {
            let mut known = self.known();
            if known.tried.is_some_and(|at| at >= asked || at.elapsed() < self.pause) {
                return;
            }
            known.tried = Some(Instant::now());
        }
        let text = fetcher.fetch(MAX_BYTES).await;
        match text.and_then(|text| key::read(&text).map_err(anyhow::Error::msg)) {
            Ok(keys) => {
                info!(target: "http", keys = keys.len(), "keys of the authorization server fetched");
                let mut known = self.known();
                (known.keys, known.fetched) = (keys.into(), Some(Instant::now()));
            }
            Err(problem) => {
                warn!(target: "http", problem = format!("{problem:#}"), "server.http.oauth.jwks could not be fetched");
            }
        }
    }

    /// While the file cannot be read, nobody is let in: it may have been replaced because a key is not to count any more.
    fn look_again(&self, file: &Path) {
        let mut known = self.known();
        let version = Version::at(file);
        if version == known.version {
            return;
        }
        known.version = version;
        known.keys = read(file).unwrap_or_else(|problem| {
            warn!(target: "http", problem, file = %file.display(), "server.http.oauth.jwks: nobody is let in");
            Arc::default()
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one key that fits. A token that does not name its key is taken if there is no doubt about it.
fn fitting<'a>(keys: &'a [Key], token: &Parsed<'_>) -> Option<&'a Key> {
    let mut fitting = keys.iter().filter(|key| key.fits(token));
    let first = fitting.next()?;
    fitting.next().is_none().then_some(first)
}

fn read(file: &Path) -> Result<Arc<[Key]>, String> {
    let text = files::read(file, MAX_BYTES as u64).map_err(|error| format!("failed to read it: {error}"))?;
    Ok(key::read(&text)?.into())
}
