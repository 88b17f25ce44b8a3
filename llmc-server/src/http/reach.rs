//! Files that HTTP depends on must be out of reach of tools and programs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tracing::warn;

use crate::config::{Access, Config, HttpAuth, Listen};
use crate::console::ticket::Tickets;
use crate::tokens;

/// Checks this configuration.
///
/// # Errors
///
/// What could be reached, and through which root.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    let Some(http) = &config.server.http else { return Ok(()) };
    if http.auth == HttpAuth::Token {
        // Who can write the file of tokens can let in whom he likes.
        let file = tokens::path(config)?;
        if let Some(root) = holder(&file, config, |access| access == Access::Rw) {
            bail!(
                "server.http: the tokens in `{}` could be changed through the writable root `{root}`; write another \
                 place as `server.http.tokens`",
                file.display()
            );
        }
    }
    if let (HttpAuth::OAuth, Some(oauth)) = (http.auth, &http.oauth) {
        let keys = Some(Path::new(&oauth.jwks)).filter(|_| oauth.jwks_url().is_none());
        // Who can write the keys of the authorization server can be it.
        for file in keys.into_iter().chain(oauth.jwks_ca.as_deref()) {
            if let Some(root) = holder(file, config, |access| access == Access::Rw) {
                bail!(
                    "server.http.oauth: `{}` could be changed through the writable root `{root}`; choose another place",
                    file.display()
                );
            }
        }
    }
    // Who reads the key can be this server, and who writes one of the files decides who is.
    for file in http.tls.iter().flat_map(|tls| [&tls.cert, &tls.key]) {
        file.metadata().with_context(|| format!("server.http.tls: failed to find `{}`", file.display()))?;
        if let Some(root) = holder(file, config, |_| true) {
            bail!(
                "server.http.tls: `{}` lies in the root `{root}`, where tools could reach it",
                file.display()
            );
        }
    }
    match &http.listen {
        Listen::Unix(path) => out_of_roots(path, config),
        Listen::Tcp(_) | Listen::Systemd => Ok(()),
    }
}

/// Where links of `llmc console` are found; nowhere if a tool could write them.
pub(super) fn tickets(config: &Config) -> Option<Tickets> {
    let file = tokens::path(config).ok()?;
    match holder(&file, config, |access| access == Access::Rw) {
        None => Some(Tickets::beside(&file)),
        Some(root) => {
            warn!(
                target: "http",
                "links of `llmc console` are not taken, use a token: they would lie in the writable root `{root}`"
            );
            None
        }
    }
}

/// Code and commands see the roots: a socket there would be a way out of their jails, or could be replaced.
///
/// # Errors
///
/// When a root holds it.
pub(super) fn out_of_roots(socket: &Path, config: &Config) -> anyhow::Result<()> {
    let Some(root) = holder(socket, config, |_| true) else { return Ok(()) };
    bail!(
        "server.http: the socket `{}` would lie in the root `{root}`, where tools and programs could use or replace \
         it; choose another place",
        socket.display()
    )
}

/// The root of this access that holds a file, or would hold it if it were there, or what it leads to.
fn holder<'a>(file: &Path, config: &'a Config, access: impl Fn(Access) -> bool) -> Option<&'a str> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let places: Vec<PathBuf> =
        [folder, file].into_iter().filter_map(|path| path.canonicalize().ok()).collect();
    let holds = |root: &Path| {
        root.canonicalize().is_ok_and(|root| places.iter().any(|place| place.starts_with(&root)))
    };
    let mut roots = config.roots.iter().filter(|(_, root)| access(root.access));
    roots.find(|(_, root)| holds(&root.path)).map(|(name, _)| name.as_str())
}
