//! Shared libraries that must be in memory before the file tree is gone.

use std::ffi::CStr;

/// Loads a system library for the rest of the process's life; `false` when there is none of that name.
pub(crate) fn keep_library(name: &CStr) -> bool {
    // SAFETY: `name` is NUL-terminated. Constructors of the library run: callers name parts of the C and compiler
    // runtime only, which this process trusts anyway.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    !handle.is_null()
}
