//! `[server] http`: MCP over Streamable HTTP.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Listen, OAuth, ProxyHeader, Tls, TrustedProxy};
use crate::http::{Authority, Origin};

/// Where and how HTTP clients are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port, such as `"127.0.0.1:8765"`; `"unix:/path"` for a Unix socket, `"systemd"` for the socket that
    /// systemd hands over.
    pub listen: Listen,
    /// Permissions of the Unix socket, as an octal number; who may connect is who may write it.
    #[serde(default = "socket_mode")]
    pub socket_mode: String,
    /// Files for TLS; without them HTTP is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who may call: `"token"` for holders of a token of `llmc token create`, `"oauth"` for holders of an access token
    /// of an authorization server, `"none"` for everybody who reaches the
    /// address, which has to be a loopback one.
    #[serde(default)]
    pub auth: HttpAuth,
    /// File with the digests of the tokens; by default `llmc/tokens.json` in the XDG state folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<PathBuf>,
    /// Which access tokens open what, with `auth = "oauth"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
    /// Who may read `/metrics`: `"token"` for holders of a token of `llmc token create --scope metrics`, `"public"` for
    /// everybody who reaches the address, which has to be a loopback one.
    #[serde(default)]
    pub metrics: HttpMetrics,
    /// Serve the console at `/console`, to who has a token with the scope `admin` or a link of `llmc console`.
    #[serde(default = "console")]
    pub console: bool,
    /// Names, with or without a port, by which clients may address the server, beside the address itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// Origins of web pages that may call, such as `"https://app.example.org"`; other pages are refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// Proxies whose word about the client's address counts, as networks such as `"127.0.0.1/32"`, or `"unix"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<TrustedProxy>,
    /// The header in which they say it: `"x-forwarded-for"` or `"forwarded"`; no other one is looked at.
    #[serde(default)]
    pub proxy_header: ProxyHeader,
    /// Connections at the same time; idle ones make room for new ones.
    #[serde(default = "connections")]
    pub connections: usize,
    /// Requests that may be under way at the same time; more are told to come back.
    #[serde(default = "concurrent_requests")]
    pub concurrent_requests: usize,
    /// Requests of one token a minute; with `auth = "none"`, of one address.
    #[serde(default = "requests_per_minute")]
    pub requests_per_minute: u32,
    /// Requests without a valid token that one address may make a minute and be told and recorded.
    #[serde(default = "failures_per_minute")]
    pub failures_per_minute: u32,
    /// Longest wait in milliseconds for the head of a request, for its body, and for a client that does not read.
    #[serde(default = "client_timeout_ms")]
    pub client_timeout_ms: u64,
    /// How long calls under way may go on after the server was told to end, in milliseconds.
    #[serde(default = "drain_ms")]
    pub drain_ms: u64,
}

/// Who may call over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HttpAuth {
    /// Holders of a token.
    #[default]
    Token,
    /// Holders of an access token of an authorization server.
    #[value(name = "oauth")]
    #[serde(rename = "oauth")]
    OAuth,
    /// Everybody who reaches the address; on loopback only.
    None,
}

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HttpMetrics {
    /// Holders of a token with the scope `metrics` or `admin`.
    #[default]
    Token,
    /// Everybody who reaches the address; on loopback only.
    Public,
}

fn console() -> bool {
    true
}

fn socket_mode() -> String {
    "0600".to_owned()
}

fn connections() -> usize {
    512
}

fn concurrent_requests() -> usize {
    256
}

fn requests_per_minute() -> u32 {
    6_000
}

fn failures_per_minute() -> u32 {
    30
}

fn client_timeout_ms() -> u64 {
    30_000
}

fn drain_ms() -> u64 {
    10_000
}

impl Http {
    /// What serves an address when nothing else is said.
    pub(crate) fn on(listen: Listen) -> Self {
        Self {
            listen,
            socket_mode: socket_mode(),
            tls: None,
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::default(),
            auth: HttpAuth::default(),
            tokens: None,
            metrics: HttpMetrics::default(),
            console: console(),
            oauth: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            connections: connections(),
            concurrent_requests: concurrent_requests(),
            requests_per_minute: requests_per_minute(),
            failures_per_minute: failures_per_minute(),
            client_timeout_ms: client_timeout_ms(),
            drain_ms: drain_ms(),
        }
    }

    /// Relative paths count from the folder of the configuration.
    pub(super) fn resolve(&mut self, folder: &Path) {
        self.listen.resolve(folder);
        if let Some(oauth) = &mut self.oauth {
            oauth.resolve(folder);
        }
        let tls = self.tls.iter_mut().flat_map(|tls| [&mut tls.cert, &mut tls.key]);
        for path in self.tokens.iter_mut().chain(tls) {
            *path = folder.join(&*path);
        }
    }

    /// Whether clients at this address of ours may be let in without being asked who they are.
    ///
    /// # Errors
    ///
    /// When other machines can reach it.
    pub(crate) fn check_reach(&self, address: IpAddr) -> Result<(), String> {
        if is_loopback(address) {
            return Ok(());
        }
        if self.metrics == HttpMetrics::Public {
            return Err(format!(
                "server.http: {address} can be reached from other machines, so `metrics = \"public\"` is refused there; \
                 use a token of `llmc token create NAME --scope metrics`"
            ));
        }
        if self.auth != HttpAuth::None {
            return Ok(());
        }
        Err(format!(
            "server.http: {address} can be reached from other machines, so `auth = \"none\"` is refused there; use \
             `auth = \"token\"` with `llmc token create NAME`, or listen on 127.0.0.1"
        ))
    }

    /// Permissions of the Unix socket.
    ///
    /// # Errors
    ///
    /// When they are no such number.
    pub(crate) fn socket_mode_bits(&self) -> Result<u32, String> {
        let bits = u32::from_str_radix(&self.socket_mode, 8).ok().filter(|bits| *bits <= 0o777);
        bits.ok_or_else(|| {
            format!("server.http.socket_mode: `{}` must be an octal number such as `0660`", self.socket_mode)
        })
    }

    /// Finds what does not fit together.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Listen::Tcp(address) = &self.listen {
            self.check_reach(address.ip())?;
        }
        self.socket_mode_bits()?;
        match (&self.oauth, self.auth) {
            (Some(oauth), _) => oauth.check()?,
            (None, HttpAuth::OAuth) => {
                return Err("server.http: `auth = \"oauth\"` needs `[server.http.oauth]`".into());
            }
            (None, HttpAuth::Token | HttpAuth::None) => {}
        }
        if let Some(host) = self.hosts.iter().find(|host| Authority::parse(host).is_none()) {
            return Err(format!(
                "server.http.hosts: `{host}` must be a name with or without a port, such as `llmc.example.org`"
            ));
        }
        if let Some(origin) = self.origins.iter().find(|origin| Origin::parse(origin).is_none()) {
            return Err(format!(
                "server.http.origins: `{origin}` must be a scheme, a host and perhaps a port, such as \
                 `https://app.example.org`"
            ));
        }
        let positive = [
            ("connections", self.connections as u64),
            ("concurrent_requests", self.concurrent_requests as u64),
            ("requests_per_minute", u64::from(self.requests_per_minute)),
            ("failures_per_minute", u64::from(self.failures_per_minute)),
            ("client_timeout_ms", self.client_timeout_ms),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(format!("server.http.{name} must be at least 1")),
            None => Ok(()),
        }
    }
}

/// `::ffff:127.0.0.1` is loopback, too.
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        toml::from_str::<Http>(text).unwrap().check()
    }

    #[test]
    fn no_authentication_on_loopback_only() {
        for address in ["127.0.0.1:1", "[::1]:1", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(check(&format!("listen = '{address}'\nauth = 'none'")), Ok(()), "{address}");
        }
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"] {
            let refused = check(&format!("listen = '{address}'\nauth = 'none'")).unwrap_err();
            assert!(refused.contains("llmc token create"), "{address}: {refused}");
            assert_eq!(check(&format!("listen = '{address}'")), Ok(()), "{address}");
        }
    }

    #[test]
    fn metrics_are_public_on_loopback_only() {
        assert_eq!(check("listen = '127.0.0.1:1'\nmetrics = 'public'"), Ok(()));
        let refused = check("listen = '192.0.2.1:1'\nmetrics = 'public'").unwrap_err();
        assert!(refused.contains("--scope metrics"), "{refused}");
    }

    #[test]
    fn lists_hold_hosts_and_origins() {
        let with = |line: &str| check(&format!("listen = '127.0.0.1:1'\n{line}"));
        assert_eq!(with("hosts = ['llmc.example.org', 'a.example:8443', '[::1]:1']"), Ok(()));
        assert_eq!(with("origins = ['https://app.example.org', 'http://localhost:3000']"), Ok(()));
        for host in ["", "https://a", "a/b", "u@a", "a b", "*"] {
            assert!(with(&format!("hosts = ['{host}']")).unwrap_err().contains("hosts"), "{host}");
        }
        for origin in ["", "null", "*", "app.example.org", "https://a/b", "https://u@a", "file://"] {
            assert!(with(&format!("origins = ['{origin}']")).unwrap_err().contains("origins"), "{origin}");
        }
        assert!(with("connections = 0").unwrap_err().contains("server.http.connections"));
    }
}
