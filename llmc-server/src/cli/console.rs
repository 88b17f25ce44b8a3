//! `llmc console`

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;

use super::running::Running;
use super::{address, browser, note, print};
use crate::config::{self, Flags, Listen};
use crate::console::ticket::LIFETIME;

/// Open the console of a running server in a browser, by a link that is good once.
#[derive(Args)]
pub(super) struct Console {
    /// Address at which the server serves HTTP, if not the one of the configuration.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    http: Option<SocketAddr>,
    /// Print the link and open nothing.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Console {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = config::load(&self.flags)?.config;
        let running = Running::find(&config, self.http.map(Listen::Tcp).as_ref())?;
        let link = running.link()?;
        if !self.print {
            match browser::open(&link) {
                Ok(program) => {
                    note(&format!(
                        "the console is opened by `{program}`; `llmc console --print` prints a link instead"
                    ));
                    return Ok(ExitCode::SUCCESS);
                }
                Err(problem) => note(&format!("no browser was opened: {problem}; follow this link")),
            }
        }
        print(&format!("{link}\n"))?;
        note(&format!("the link is good for one browser, within {} seconds", LIFETIME.as_secs()));
        Ok(ExitCode::SUCCESS)
    }
}
