//! By which names the server may be addressed, and which web pages may call it.
//!
//! A page whose name an attacker resolves to this machine (DNS rebinding) sends its own name as `Host`; a page of
//! another site sends its `Origin`. Both are refused before anything is dispatched.

use std::net::IpAddr;

use hyper::http::uri;

/// A host, and a port if one was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Small letters, without the brackets of IPv6 and without the dot at the end of a full name.
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host` or `host:port`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_odd = |byte: u8| !matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if text.bytes().any(is_odd) {
            return None;
        }
        let authority: uri::Authority = text.parse().ok()?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let port = match text.strip_prefix(authority.host())? {
            "" => None,
            port => Some(port.strip_prefix(':')?.parse().ok()?),
        };
        (!host.is_empty()).then_some(Self { host, port })
    }

    fn address(&self) -> Option<IpAddr> {
        self.host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
    }
}

/// Scheme, host and port of a web page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads what browsers send. `null`, which any page can bring about, is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let Authority { host, port } = Authority::parse(rest)?;
        Some(Self { scheme, host, port: port.unwrap_or(default) })
    }
}

/// Who may be addressed and who may ask.
#[derive(Debug)]
pub(super) struct Names {
    hosts: Vec<Authority>,
    origins: Vec<Origin>,
}

impl Names {
    /// Entries were checked with the configuration.
    pub(super) fn new(hosts: &[String], origins: &[String]) -> Self {
        Self {
            hosts: hosts.iter().filter_map(|host| Authority::parse(host)).collect(),
            origins: origins.iter().filter_map(|origin| Origin::parse(origin)).collect(),
        }
    }

    /// Whether a request over a connection to `local` may say this host.
    ///
    /// The address itself cannot be the name of an attacker's page. Its port is not compared: a forwarded port is
    /// another one on the way.
    pub(super) fn allow_host(&self, host: &str, local: IpAddr) -> bool {
        let Some(host) = Authority::parse(host) else { return false };
        let local = local.to_canonical();
        host.address() == Some(local)
            || (local.is_loopback()
                && (host.host == "localhost" || host.address().is_some_and(|address| address.is_loopback())))
            || self
                .hosts
                .iter()
                .any(|known| known.host == host.host && (known.port.is_none() || known.port == host.port))
    }

    pub(super) fn allow_origin(&self, origin: &str) -> bool {
        Origin::parse(origin).is_some_and(|origin| self.origins.contains(&origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compared_whole() {
        let names = Names::new(&["llmc.example.org".into(), "a.example:8443".into()], &[]);
        let loopback = |host: &str| names.allow_host(host, "127.0.0.1".parse().unwrap());
        for host in [
            "localhost",
            "LocalHost:8765",
            "127.0.0.1",
            "127.0.0.1:1",
            "127.0.0.2",
            "[::1]:80",
            "localhost.",
            "llmc.example.org",
            "LLMC.example.org:9",
            "a.example:8443",
        ] {
            assert!(loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil-localhost",
            "127.0.0.1.evil.example",
            "a.example",
            "a.example:1",
            "u@localhost",
            "localhost@evil.example",
            "localhost:99999",
            "localhost:x",
            "local host",
            "localhost/",
            "localhost,evil.example",
            "0.0.0.0",
            "192.0.2.1",
            "[::1",
            "::1]",
            "%6cocalhost",
            "127.1",
        ] {
            assert!(!loopback(host), "{host}");
        }
        let elsewhere = |host: &str| names.allow_host(host, "192.0.2.1".parse().unwrap());
        assert!(elsewhere("192.0.2.1:8765") && elsewhere("llmc.example.org"));
        assert!(!elsewhere("localhost") && !elsewhere("127.0.0.1") && !elsewhere("192.0.2.2"));
    }

    #[test]
    fn origins_are_compared_with_scheme_and_port() {
        let none = Names::new(&[], &[]);
        let names = Names::new(&[], &["https://app.example.org".into(), "http://localhost:3000".into()]);
        for origin in ["https://app.example.org", "https://APP.example.org:443", "http://localhost:3000"] {
            assert!(names.allow_origin(origin), "{origin}");
            assert!(!none.allow_origin(origin), "{origin}");
        }
        for origin in [
            "",
            "null",
            "http://app.example.org",
            "https://app.example.org:444",
            "https://app.example.org.evil.example",
            "http://localhost",
            "http://localhost:3001",
            "https://evil.example",
            "https://app.example.org/",
            "https://app.example.org https://evil.example",
            "app.example.org",
        ] {
            assert!(!names.allow_origin(origin), "{origin}");
        }
    }
}
