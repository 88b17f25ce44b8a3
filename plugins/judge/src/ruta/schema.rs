//! `ruta schema`

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use judge::report::Report;
use judge::scenario::Scenario;
use judge::trace::Event;
use schemars::schema_for;

use crate::judged::print;

#[derive(Args)]
pub(crate) struct Schema {
    /// The format.
    #[arg(value_enum, default_value_t = Of::Scenario)]
    of: Of,
}

/// The formats.
#[derive(Clone, Copy, ValueEnum)]
enum Of {
    /// Scenario files.
    Scenario,
    /// Lines of trace files.
    Trace,
    /// JSON reports.
    Report,
}

impl Schema {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let schema = match self.of {
            Of::Scenario => schema_for!(Scenario),
            Of::Trace => schema_for!(Event),
            Of::Report => schema_for!(Report),
        };
        print(&(serde_json::to_string_pretty(&schema)? + "\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}
