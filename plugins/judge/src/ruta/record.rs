//! `ruta record`

use std::io::stdout;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use judge::trace::audit::Range;
use judge::trace::{self, Event, write};

use crate::audit::{Mark, records};
use crate::files;
use crate::run::RunId;

#[derive(Args)]
pub(crate) struct Record {
    /// The audit file of a server (`audit.path` in its configuration).
    audit: PathBuf,
    #[command(flatten)]
    range: RangeArgs,
    /// Name of the session.
    #[arg(long, default_value = "audit")]
    run_id: RunId,
    /// The trace file to make, instead of stdout.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A part of an audit file. It should be of one run of the server, since calls are numbered anew in each.
#[derive(Args, Default)]
pub(crate) struct RangeArgs {
    /// Calls that ended then or later, in milliseconds since 1970.
    #[arg(long, value_name = "MS")]
    from_ms: Option<u64>,
    /// Calls that ended then or earlier.
    #[arg(long, value_name = "MS")]
    to_ms: Option<u64>,
    /// Calls of this caller and those below them, such as `client`.
    #[arg(long)]
    caller: Option<String>,
}

impl Record {
    pub(crate) fn run(self) -> Result<ExitCode> {
        let events = events(&self.audit, Mark::default(), self.range, &self.run_id)?;
        match self.output {
            Some(file) => write(&events, &mut files::create(&file)?)?,
            None => write(&events, &mut stdout().lock())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The events of a range of an audit, from a mark on; one at least.
pub(crate) fn events(audit: &Path, mark: Mark, range: RangeArgs, run_id: &RunId) -> Result<Vec<Event>> {
    let RangeArgs { from_ms, to_ms, caller } = range;
    let range = Range { from_ms, to_ms, caller };
    let events = trace::audit::events(&records(audit, mark, &range)?, &range, &run_id.0);
    if events.is_empty() {
        bail!("audit `{}` has no call in that range", audit.display());
    }
    Ok(events)
}
