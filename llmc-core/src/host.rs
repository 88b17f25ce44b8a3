//! The way to the host: [`HostRef`] in a plugin, the harness in a test.

use llmc_abi::HostRef;
use llmc_abi::abi_stable::std_types::{RResult, RSlice};

use crate::{ToolError, ToolResult};

/// Answers the requests of a plugin.
pub(crate) trait Host: Send + Sync {
    /// `call` is the call that asks, `op` what it asks for, `body` and the answer are JSON.
    fn request(&self, call: u64, op: u32, body: &[u8]) -> ToolResult<Vec<u8>>;
}

impl Host for HostRef {
    fn request(&self, call: u64, op: u32, body: &[u8]) -> ToolResult<Vec<u8>> {
        match self.request()(call, op, RSlice::from_slice(body)) {
            RResult::ROk(answer) => Ok(answer.into_vec()),
            RResult::RErr(error) => Err(ToolError::from(error)),
        }
    }
}
