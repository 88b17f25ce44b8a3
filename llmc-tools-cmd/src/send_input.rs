//! `send_input`.

use llmc_core::prelude::*;

use crate::limits::{DEFAULT_WAIT_MS, MAX_TEXT_BYTES};
use crate::process::{Look, Seen, find};

/// Sends text to a process and returns its new output. The text is sent as it is: end a line with "\n". With a terminal,
/// control characters work: "\u0003" is Ctrl-C.
#[arguments]
pub struct SendInput {
    /// Its handle, from `start_process`.
    process: String,
    /// What to send.
    #[serde(default)]
    text: String,
    /// Ends its input after the text; with a terminal, types Ctrl-D.
    #[serde(default)]
    close: bool,
    /// Sends SIGINT before the text.
    #[serde(default)]
    interrupt: bool,
    /// Longest wait for output in milliseconds, up to 30000. Default: 1000.
    wait_ms: Option<u64>,
}

impl Tool for SendInput {
    const NAME: &'static str = "send_input";
    const ANNOTATIONS: Annotations = Annotations::DESTRUCTIVE;
    type Output = Seen;

    fn call(self, ctx: &Context) -> ToolResult<Seen> {
        if self.text.len() > MAX_TEXT_BYTES {
            let message = format!("`text` is longer than {MAX_TEXT_BYTES} bytes: send it in parts");
            return Err(ToolError::invalid(message));
        }
        let process = find(ctx, &self.process)?;
        let before = process.end();
        if self.interrupt {
            process.interrupt()?;
        }
        if !self.text.is_empty() || self.close {
            process.type_text(&self.text, self.close)?;
        }
        let look = Look::new(ctx, None, None, self.wait_ms.unwrap_or(DEFAULT_WAIT_MS));
        process.look(ctx, look, Some(before))
    }
}
