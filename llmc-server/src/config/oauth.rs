//! `[server.http.oauth]`: access tokens of an authorization server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyper::Uri;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest difference between our clock and that of the authorization server, in seconds.
const MAX_LEEWAY_S: u64 = 300;

/// Whose access tokens open what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// The authorization server: the `iss` of its tokens, letter by letter.
    pub issuer: String,
    /// What the `aud` of a token must name: this server, as the authorization server knows it.
    pub audience: String,
    /// URL by which clients reach this server, such as `"https://llmc.example.org/mcp"`; `audience` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The authorization server's keys as a JWK Set: an `https` URL, or a file.
    pub jwks: String,
    /// Certificates in PEM that the server of that URL is known by, instead of those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks_ca: Option<PathBuf>,
    /// Least time in seconds between two fetches of that URL, however many tokens name unknown keys.
    #[serde(default = "jwks_pause_s")]
    pub jwks_pause_s: u64,
    /// Signatures that are taken, all of them asymmetric.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
    /// Tools that each scope opens, `"*"` for all.
    pub scopes: BTreeMap<String, Vec<String>>,
    /// The scope that opens the console and `/metrics`; without one no access token does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_scope: Option<String>,
    /// The scope that opens `/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_scope: Option<String>,
    /// How far clocks may be apart, in seconds.
    #[serde(default = "leeway_s")]
    pub leeway_s: u64,
}

/// A signature of JWS, RFC 7518 and 8037.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

fn jwks_pause_s() -> u64 {
    30
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
}

fn leeway_s() -> u64 {
    60
}

impl OAuth {
    /// Where clients reach this server.
    pub(crate) fn resource(&self) -> &str {
        self.resource.as_ref().unwrap_or(&self.audience)
    }

    /// The URL of the keys; none if they lie in a file.
    pub(crate) fn jwks_url(&self) -> Option<Uri> {
        let url: Uri = self.jwks.parse().ok()?;
        url.scheme().is_some().then_some(url)
    }

    /// Relative paths count from the folder of the configuration.
    pub(super) fn resolve(&mut self, folder: &Path) {
        if self.jwks_url().is_none() {
            self.jwks = folder.join(&self.jwks).to_string_lossy().into_owned();
        }
        if let Some(file) = &mut self.jwks_ca {
            *file = folder.join(&*file);
        }
    }

    /// Finds what does not fit together.
    pub(super) fn check(&self) -> Result<(), String> {
        let problem = |key: &str, what: &str| Err(format!("server.http.oauth.{key}: {what}"));
        if !is_secure(&self.issuer) {
            return problem("issuer", "must be an `https` URL (`http` on loopback only)");
        }
        if self.audience.is_empty() {
            return problem("audience", "must name this server as the authorization server does");
        }
        if !is_secure(self.resource()) {
            return problem("resource", "must be the URL by which clients reach this server, by `https`");
        }
        if self.jwks.contains("://") && !is_secure(&self.jwks) {
            return problem("jwks", "keys are fetched by `https` only (`http` on loopback)");
        }
        if self.algorithms.is_empty() {
            return problem("algorithms", "must name at least one");
        }
        if self.scopes.is_empty() {
            return problem(
                "scopes",
                "must name at least one scope and its tools, such as `\"mcp:call\" = [\"*\"]`",
            );
        }
        // RFC 6749, 3.3.
        let is_odd = |byte: u8| !matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let is_word = |scope: &String| !scope.is_empty() && !scope.bytes().any(is_odd);
        const WORD: &str = "a scope is a word of printable characters without quotes and backslashes";
        if !self.scopes.keys().all(is_word) {
            return problem("scopes", WORD);
        }
        for (key, scope) in [("admin_scope", &self.admin_scope), ("metrics_scope", &self.metrics_scope)] {
            let Some(scope) = scope else { continue };
            if !is_word(scope) {
                return problem(key, WORD);
            }
            // Clients ask for all scopes of tools at once.
            if self.scopes.contains_key(scope) {
                return problem(key, "must not be a scope that opens tools, too");
            }
        }
        if self.admin_scope.is_some() && self.admin_scope == self.metrics_scope {
            return problem(
                "metrics_scope",
                "must be another one than `admin_scope`, which opens `/metrics`, too",
            );
        }
        if self.leeway_s > MAX_LEEWAY_S {
            return problem("leeway_s", &format!("can be at most {MAX_LEEWAY_S}"));
        }
        Ok(())
    }
}

/// `https`, or `http` to this machine; without user, and without the end that servers never see.
fn is_secure(url: &str) -> bool {
    let Ok(parsed) = url.parse::<Uri>() else { return false };
    let Some(authority) = parsed.authority() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback());
    let is_scheme = match parsed.scheme_str() {
        Some("https") => true,
        Some("http") => is_loopback,
        _ => false,
    };
    is_scheme && !authority.as_str().contains('@') && !url.contains('#')
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "issuer = 'https://as.example'\naudience = 'https://llmc.example/mcp'\n\
                        jwks = 'https://as.example/keys'\nscopes = { 'mcp:call' = ['*'] }\n";

    fn check(from: &str, to: &str) -> Result<(), String> {
        let text = GOOD.replace(from, to);
        assert!(from.is_empty() || text != GOOD, "{from}");
        toml::from_str::<OAuth>(&text).map_err(|error| error.to_string())?.check()
    }

    #[test]
    fn only_what_is_safe_to_believe_is_accepted() {
        assert_eq!(check("", ""), Ok(()));
        assert_eq!(check("https://as.example/keys", "keys.json"), Ok(()));
        assert_eq!(check("https://as.example/keys", "http://127.0.0.1:8/keys"), Ok(()));
        for url in
            ["http://as.example/keys", "ftp://as.example/keys", "https://u@as.example/keys", "file:///keys"]
        {
            assert!(check("https://as.example/keys", url).unwrap_err().contains("jwks"), "{url}");
        }
        for url in ["http://as.example", "as.example", "", "https://as.example#a"] {
            assert!(
                check("'https://as.example'", &format!("'{url}'")).unwrap_err().contains("issuer"),
                "{url}"
            );
        }
        assert!(check("https://llmc.example/mcp", "api://llmc").unwrap_err().contains("resource"));
        let named = "api://llmc'\nresource = 'https://llmc.example/mcp";
        assert_eq!(check("https://llmc.example/mcp", named), Ok(()));
        assert!(check("{ 'mcp:call' = ['*'] }", "{}").unwrap_err().contains("scopes"));
        assert!(check("mcp:call", "mcp call").unwrap_err().contains("scopes"));
        for key in ["admin_scope", "metrics_scope"] {
            assert_eq!(check("scopes", &format!("{key} = 'llmc:x'\nscopes")), Ok(()));
            for odd in ["mcp:call", "a b", ""] {
                let refused = check("scopes", &format!("{key} = '{odd}'\nscopes"));
                assert!(refused.unwrap_err().contains(key), "{odd}");
            }
        }
        let same = "admin_scope = 'x'\nmetrics_scope = 'x'\nscopes";
        assert!(check("scopes", same).unwrap_err().contains("metrics_scope"));
        assert!(check("scopes", "leeway_s = 301\nscopes").unwrap_err().contains("leeway_s"));
        for name in ["none", "HS256", "HS512", "rs256", ""] {
            let refused = check("scopes", &format!("algorithms = ['{name}']\nscopes"));
            assert!(refused.unwrap_err().contains("unknown variant"), "{name}");
        }
    }
}
