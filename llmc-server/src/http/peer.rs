//! Who is at the other end: an address, or a process on this machine; and, where a trusted proxy is there, for whom it
//! says that it asks.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use hyper::header::{self, HeaderMap, HeaderName};

use super::rate::network;
use crate::config::{Http, ProxyHeader, TrustedProxy};

/// Proxies in a row that are believed.
const MAX_HOPS: usize = 16;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    Net(SocketAddr),
    /// Over the Unix socket: its user and process, as the kernel says.
    Local {
        uid: u32,
        pid: Option<i32>,
    },
}

/// Who sends a request, as far as addresses go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    Net(IpAddr),
    Local { uid: u32, pid: Option<i32> },
}

/// What counts as one client when requests are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    Network(IpAddr),
    User(u32),
}

impl Client {
    pub(super) fn counted(self) -> Counted {
        match self {
            Self::Net(address) => Counted::Network(network(address)),
            Self::Local { uid, .. } => Counted::User(uid),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Net(address) => write!(formatter, "{address}"),
            Self::Local { uid, pid } => write!(formatter, "{}", Client::Local { uid, pid }),
        }
    }
}

impl fmt::Display for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Net(address) => write!(formatter, "{address}"),
            Self::Local { uid, pid: Some(pid) } => write!(formatter, "uid {uid}, pid {pid}"),
            Self::Local { uid, pid: None } => write!(formatter, "uid {uid}"),
        }
    }
}

/// Whose word about the client counts.
#[derive(Debug)]
pub(super) struct Proxies {
    trusted: Vec<TrustedProxy>,
    header: HeaderName,
    read: fn(&str) -> Option<IpAddr>,
}

impl Proxies {
    pub(super) fn new(config: &Http) -> Self {
        let (header, read): (_, fn(&str) -> Option<IpAddr>) = match config.proxy_header {
            ProxyHeader::XForwardedFor => (X_FORWARDED_FOR, address),
            ProxyHeader::Forwarded => (header::FORWARDED, forwarded),
        };
        Self { trusted: config.trusted_proxies.clone(), header, read }
    }

    /// Who sends a request: the last address that no trusted proxy has. What stands before it anybody could have
    /// written. A proxy that says nothing that can be read is taken for the client itself.
    pub(super) fn client(&self, headers: &HeaderMap, peer: Peer) -> Client {
        let (mut client, trusted) = match peer {
            Peer::Net(address) => (Client::Net(address.ip()), self.trusts(address.ip())),
            Peer::Local { uid, pid } => {
                (Client::Local { uid, pid }, self.trusted.contains(&TrustedProxy::Unix))
            }
        };
        if !trusted {
            return client;
        }
        let lines: Vec<&str> =
            headers.get_all(&self.header).iter().map(|line| line.to_str().unwrap_or_default()).collect();
        let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
        for hop in hops.take(MAX_HOPS) {
            let Some(address) = (self.read)(hop.trim()) else { break };
            client = Client::Net(address.to_canonical());
            if !self.trusts(address) {
                break;
            }
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|proxy| proxy.holds(address))
    }
}

/// `192.0.2.1`, `2001:db8::1`, both with a port if somebody likes to write one.
fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare().or_else(with_port).or_else(bracketed)
}

/// The `for` of an element of `Forwarded` (RFC 7239, 4): `for=192.0.2.1;proto=https`, `For="[2001:db8::1]:4711"`.
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn client(settings: &str, peer: &str, lines: &[(&str, &str)]) -> String {
        let config: Http = toml::from_str(&format!("listen = '127.0.0.1:1'\n{settings}")).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let peer = match peer.parse() {
            Ok(address) => Peer::Net(address),
            Err(_) => Peer::Local { uid: 33, pid: Some(7) },
        };
        Proxies::new(&config).client(&headers, peer).to_string()
    }

    const PROXY: &str = "trusted_proxies = ['127.0.0.1/32', '10.0.0.0/8']";

    #[test]
    fn nobody_is_believed_by_default() {
        let lines = [("x-forwarded-for", "192.0.2.9"), ("forwarded", "for=192.0.2.9")];
        assert_eq!(client("", "127.0.0.1:5", &lines), "127.0.0.1");
        assert_eq!(client(PROXY, "127.0.0.2:5", &lines), "127.0.0.2");
        assert_eq!(client(PROXY, "unix", &lines), "uid 33, pid 7");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_counts() {
        let of = |value: &str| client(PROXY, "127.0.0.1:5", &[("x-forwarded-for", value)]);
        assert_eq!(of("192.0.2.9"), "192.0.2.9");
        assert_eq!(of("6.6.6.6, 192.0.2.9"), "192.0.2.9", "the rest may be invented");
        assert_eq!(of("6.6.6.6, 192.0.2.9, 10.1.2.3"), "192.0.2.9", "past our own proxies");
        assert_eq!(of("10.1.2.3,10.9.9.9"), "10.1.2.3", "one of our own asks");
        assert_eq!(of("192.0.2.9:4711"), "192.0.2.9");
        assert_eq!(of("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(of("::ffff:192.0.2.9"), "192.0.2.9");
        for odd in ["", "unknown", "6.6.6.6, x", "127.0.0.1.evil.example", "6.6.6.6,"] {
            assert_eq!(of(odd), "127.0.0.1", "{odd}");
        }
        assert_eq!(of("6.6.6.6, x, 10.1.2.3"), "10.1.2.3", "as far as it can be followed");
        assert_eq!(of(&format!("6.6.6.6{}", ", 10.0.0.1".repeat(100))), "10.0.0.1");
        let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.9")];
        assert_eq!(client(PROXY, "127.0.0.1:5", &two), "192.0.2.9");
    }

    #[test]
    fn one_header_is_looked_at_and_no_other() {
        let both = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "proto=https;For=\"[2001:db8::1]:9\"")];
        assert_eq!(client(PROXY, "127.0.0.1:5", &both), "192.0.2.1");
        let forwarded = format!("{PROXY}\nproxy_header = 'forwarded'");
        assert_eq!(client(&forwarded, "127.0.0.1:5", &both), "2001:db8::1");
        for odd in ["for=_hidden", "for=unknown", "by=192.0.2.1", "for=\"192.0.2.1", ""] {
            assert_eq!(client(&forwarded, "127.0.0.1:5", &[("forwarded", odd)]), "127.0.0.1", "{odd}");
        }
        let unix = "trusted_proxies = ['unix']";
        assert_eq!(client(unix, "unix", &both), "192.0.2.1");
        assert_eq!(client(unix, "127.0.0.1:5", &both), "127.0.0.1");
    }
}
