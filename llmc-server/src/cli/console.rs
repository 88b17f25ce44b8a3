//! `llmc console`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;

use super::{address, note, print};
use crate::config::{self, Flags, Listen};
use crate::console::ticket::{LIFETIME, Tickets};
use crate::tokens;

/// Print a link that opens the console of a running server in a browser, once.
#[derive(Args)]
pub(super) struct Console {
    /// Address at which the server serves HTTP, if not the one of the configuration.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    http: Option<SocketAddr>,
    #[command(flatten)]
    flags: Flags,
}

impl Console {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = config::load(&self.flags)?.config;
        let configured = config.server.http.as_ref();
        let listen = configured.map(|http| &http.listen);
        let address = match (self.http, listen) {
            (Some(address), _) => address,
            (None, Some(Listen::Tcp(address))) => *address,
            (None, Some(other)) => anyhow::bail!(
                "browsers do not reach `{other}`; open the console through the proxy in front of it with a token of \
                 `llmc token create NAME --scope admin`, or name an address that browsers reach with --http"
            ),
            (None, None) => anyhow::bail!(
                "the console is served over HTTP, and the configuration has no `server.http`; start the server with \
                 `llmc serve --http 127.0.0.1:8765`, then `llmc console --http 127.0.0.1:8765`"
            ),
        };
        if configured.is_some_and(|http| !http.console) {
            anyhow::bail!("the configuration switches the console off (`server.http.console`)");
        }
        if address.port() == 0 {
            anyhow::bail!(
                "port 0 is another one at each start; name the one that the server told with --http"
            );
        }
        let ticket = Tickets::beside(&tokens::path(&config)?).create()?;
        // Behind the `#` it stays in the browser: it is part of no request line, log or `Referer`.
        let scheme = if configured.is_some_and(|http| http.tls.is_some()) { "https" } else { "http" };
        print(&format!("{scheme}://{}/console#ticket={ticket}\n", reachable(address)))?;
        note(&format!("the link is good for one browser, within {} seconds", LIFETIME.as_secs()));
        Ok(ExitCode::SUCCESS)
    }
}

/// A server that listens everywhere is reached on loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_an_address_that_a_browser_can_reach() {
        for (listen, link) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("192.0.2.1:1", "192.0.2.1:1"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), link);
        }
    }
}
