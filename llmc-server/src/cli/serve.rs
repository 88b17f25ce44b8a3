//! `llmc serve`

use std::process::ExitCode;

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
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let loaded = config::load(&self.flags)?;
        let app = app::start(loaded.config, &self.flags).await?;
        let handler = Handler::new(app.path, &app.instructions);
        transport::stdio::serve(handler, app.config.limits.max_message_bytes).await?;
        Ok(ExitCode::SUCCESS)
    }
}
