//! Descriptors that arrive as numbers: the one place where they become values.
//!
//! The host opens or receives a descriptor in this very process and then tells its number. The numbers come from
//! the host, which this plugin has to trust anyway: it runs the plugin.
#![expect(
    unsafe_code,
    reason = "a descriptor's number can be turned into a value only by asserting that it is open"
)]

use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

use crate::{ToolError, ToolResult};

/// Takes over a descriptor that the host hands to the plugin.
pub(crate) fn own(number: RawFd) -> ToolResult<OwnedFd> {
    let number = checked(number)?;
    // SAFETY: the interface says that the descriptors of a started run are open, belong to the plugin from then
    // on, and are told once; `RunStarted` is parsed once and every number in it is used once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Borrows the descriptor of a granted directory.
pub(crate) fn borrow(number: RawFd) -> ToolResult<BorrowedFd<'static>> {
    let number = checked(number)?;
    // SAFETY: the interface says that the directories of a plugin stay open for as long as its process lives.
    Ok(unsafe { BorrowedFd::borrow_raw(number) })
}

fn checked(number: RawFd) -> ToolResult<RawFd> {
    if number < 0 {
        return Err(ToolError::protocol(format!("the host answered with descriptor {number}")));
    }
    Ok(number)
}
