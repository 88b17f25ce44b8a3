//! A secret that does not print itself.

use std::fmt;

/// The value of a granted secret. Its `Debug` form is `[secret]`; it has no `Display`.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub(crate) fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself. The server masks it in results and logs, wherever it appears as it is.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
