//! What a plugin finds in its own process: environment, arguments, descriptors.

use std::ffi::{CStr, c_char, c_int, c_long};

use super::Given;
use crate::sys::{Attempt, HIGHEST_DESCRIPTOR, checked};

unsafe extern "C" {
    /// The environment as the C library knows it.
    static environ: *const *const c_char;
}

pub(super) fn open_descriptors() -> Vec<c_int> {
    // SAFETY: there are no pointers among the arguments.
    let is_open = |fd: &c_int| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0;
    (0..=HIGHEST_DESCRIPTOR).filter(is_open).collect()
}

/// Names of all variables in the environment of the process and in what a constructor was given.
pub(super) fn environment(given: Given) -> Vec<String> {
    // SAFETY: nobody changes the environment: hosts start with an empty one and have no use for it.
    let mut all = unsafe { strings(environ, None) };
    // SAFETY: the loader gives a list that ends with a null pointer.
    all.extend(unsafe { strings(given.envp, None) });
    let mut names: Vec<_> =
        all.iter().map(|entry| entry.split('=').next().unwrap_or_default().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

pub(super) fn arguments(given: Given) -> Vec<String> {
    // SAFETY: the loader gives a list of `argc` strings.
    unsafe { strings(given.argv, usize::try_from(given.argc).ok()) }
}

pub(super) fn write_to_standard_streams() -> Vec<Attempt> {
    let text = b"garbage\n";
    [(1, "write_stdout"), (0, "write_stdin")]
        .map(|(fd, name)| {
            // SAFETY: the text is as long as told.
            let written = unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
            Attempt::new(name, checked(written as c_long))
        })
        .into()
}

/// # Safety
/// `list` must be null, or lead to C strings: as many as `count` says, or else up to a null pointer.
unsafe fn strings(list: *const *const c_char, count: Option<usize>) -> Vec<String> {
    let mut found = Vec::new();
    if list.is_null() {
        return found;
    }
    for i in 0..count.unwrap_or(usize::MAX) {
        // SAFETY: the list goes on, or the loop would have ended.
        let entry = unsafe { *list.add(i) };
        if entry.is_null() {
            break;
        }
        // SAFETY: the entry is a C string.
        found.push(unsafe { CStr::from_ptr(entry) }.to_string_lossy().into_owned());
    }
    found
}
