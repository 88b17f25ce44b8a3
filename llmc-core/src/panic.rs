//! A panic inside a call becomes an error that says where it happened.
//!
//! Every shared library has its own copy of the standard library and so its own panic hook: it is set here, in
//! the plugin, not in the host.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use llmc_abi::code;

use crate::{ToolError, ToolResult};

thread_local! {
    /// `None` outside a call; inside one, the report of the panic that ends it.
    static REPORT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs one call. Nothing unwinds out of it.
///
/// What the call shares with others (statics, locks) may be left half done by a panic; that is the author's
/// business, as in any threaded program.
pub(crate) fn caught<T>(call: impl FnOnce() -> ToolResult<T>) -> ToolResult<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(set_hook);
    let outer = REPORT.replace(Some(String::new()));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    let report = REPORT.replace(outer).unwrap_or_default();
    result.unwrap_or_else(|payload| {
        // Dropping a payload runs the author's code, which may panic again with nobody left to catch it.
        std::mem::forget(payload);
        Err(ToolError::new(code::PANICKED, report))
    })
}

/// Panics outside a call, for example on a thread that a tool started, go where they went before: to stderr.
fn set_hook() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let inside_a_call = REPORT.with_borrow_mut(|report| match report {
            Some(report) => {
                *report = describe(info);
                true
            }
            None => false,
        });
        if !inside_a_call {
            before(info);
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let message = info.payload_as_str().unwrap_or("no message");
    format!("panicked at {place}: {message}")
}
