//! `llmc serve`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use crate::config::{self, Flags};
use crate::mcp::Handler;
use crate::{app, transport};

/// Serve MCP to one client over stdin and stdout.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: Flags,
}

impl Serve {
    pub(super) fn flags(&self) -> &Flags {
        &self.flags
    }

    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = config::load(&self.flags)?;
        let mut app = app::start(loaded.config, &self.flags).await?;
        let handler = Handler::new(Arc::clone(&app.path), &app.instructions);
        let serving = transport::stdio::serve(handler, app.config.limits.max_message_bytes);
        tokio::pin!(serving);
        // A process that did not get ready ends the server, even if a client has seen its tools, or has left already.
        tokio::select! {
            biased;
            processes = app.processes() => {
                processes?;
                serving.await?;
            }
            served = &mut serving => {
                served?;
                app.processes().await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
