//! `server.http.listen`: where HTTP clients reach the server, and which of them speak for others.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What begins the path of a Unix socket.
const UNIX: &str = "unix:";

/// The socket that a service manager made.
const SYSTEMD: &str = "systemd";

/// Where clients reach the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Listen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket at this path.
    Unix(PathBuf),
    /// The one socket that systemd hands over (`LISTEN_FDS`).
    Systemd,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(UNIX) {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            _ if text == SYSTEMD => Ok(Self::Systemd),
            _ => text.parse().map(Self::Tcp).map_err(|_| {
                format!(
                    "`{text}` is no place to listen; write an address and a port such as `127.0.0.1:8765`, \
                     `unix:/path/of/socket` or `systemd`"
                )
            }),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(formatter, "{address}"),
            Self::Unix(path) => write!(formatter, "{UNIX}{}", path.display()),
            Self::Systemd => formatter.write_str(SYSTEMD),
        }
    }
}

impl Listen {
    /// A relative path counts from the folder of the configuration.
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Self::Unix(path) = self {
            *path = folder.join(&*path);
        }
    }
}

/// A proxy that may say for whom it asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum TrustedProxy {
    /// Whoever can connect to our Unix socket.
    Unix,
    /// Addresses with these first bits.
    Network(IpAddr, u8),
}

impl TryFrom<String> for TrustedProxy {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let (address, bits) = text.split_once('/').map_or((text.as_str(), None), |(a, b)| (a, Some(b)));
        let refused = || format!("`{text}` is no proxy; write an address such as `127.0.0.1/32`, or `unix`");
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok()).filter(|bits| (1..=most).contains(bits));
        Ok(Self::Network(address, bits.ok_or_else(refused)?))
    }
}

impl From<TrustedProxy> for String {
    fn from(proxy: TrustedProxy) -> Self {
        match proxy {
            TrustedProxy::Unix => "unix".to_owned(),
            TrustedProxy::Network(address, bits) => format!("{address}/{bits}"),
        }
    }
}

impl TrustedProxy {
    /// Whether an address belongs to it.
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        match (self, address.to_canonical()) {
            (Self::Network(IpAddr::V4(network), bits), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (Self::Network(IpAddr::V6(network), bits), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// The header in which trusted proxies say for whom they ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyHeader {
    /// `X-Forwarded-For`.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239.
    Forwarded,
}

/// `[server.http.tls]`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Certificates in PEM, the server's own first.
    pub cert: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        for text in ["127.0.0.1:8765", "[::1]:0", "unix:/run/llmc/http", "unix:relative", "systemd"] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "127.0.0.1", "localhost:80", "unix:", "http://127.0.0.1:80", "Systemd", ":80"] {
            assert!(text.parse::<Listen>().unwrap_err().contains("unix:/path/of/socket"), "{text}");
        }
    }

    #[test]
    fn a_proxy_is_its_network_and_nothing_beside_it() {
        let holds = |proxy: &str, address: &str| {
            TrustedProxy::try_from(proxy.to_owned()).unwrap().holds(address.parse().unwrap())
        };
        assert!(holds("127.0.0.1/32", "127.0.0.1") && holds("127.0.0.1", "127.0.0.1"));
        assert!(holds("127.0.0.1/32", "::ffff:127.0.0.1"));
        assert!(!holds("127.0.0.1/32", "127.0.0.2") && !holds("127.0.0.1/32", "::1"));
        assert!(holds("10.1.0.0/16", "10.1.255.255") && !holds("10.1.0.0/16", "10.2.0.0"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(!holds("unix", "127.0.0.1"));
        for text in
            ["", "*", "0.0.0.0/0", "::/0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "proxy.example", "10/8"]
        {
            assert!(TrustedProxy::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
