//! Tools called from code: `read_file` of 4 KB, a thousand times in one run, timed inside it.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::code::run;
use crate::client::Client;
use crate::servers::{NOTE, note};
use crate::stats::Percentiles;

/// As many as a run may make unless the operator says otherwise.
const CALLS: usize = 1000;

/// Microseconds of a call-back.
///
/// # Errors
/// If one of them does not read the whole file.
pub(super) fn measure(llmc: &mut Client) -> Result<Percentiles> {
    let bytes = note().len();
    let code = format!(
        "import time\nfrom llmc import tools\ntimes = []\nfor _ in range({CALLS}):\n    \
         begun = time.perf_counter_ns()\n    found = tools.read_file(path={NOTE:?})\n    \
         times.append(time.perf_counter_ns() - begun)\n    assert len(found['text']) == {bytes}\n\
         result = times"
    );
    let (_, done) = run(llmc, &json!({"code": code}))?;
    let times: Vec<u64> = serde_json::from_value(done["result"].clone())
        .with_context(|| format!("code returns its times: {done}"))?;
    ensure!(times.len() == CALLS, "{} of {CALLS} calls were made", times.len());
    Ok(Percentiles::of(times.into_iter().map(|nanoseconds| nanoseconds as f64 / 1e3).collect()))
}
