//! `[plugins.te] config`.

use std::collections::BTreeMap;

use llmc_core::prelude::*;

use crate::limits::HANDLE_SECONDS;

/// What the operator may set.
#[arguments]
#[derive(Clone, Debug)]
#[serde(default)]
pub struct Settings {
    /// Budgets of readers in tokens, by name; they go before those that are built in.
    pub agents: BTreeMap<String, u32>,
    /// How long a kept output can be read, in seconds.
    pub handle_seconds: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { agents: BTreeMap::new(), handle_seconds: HANDLE_SECONDS }
    }
}
