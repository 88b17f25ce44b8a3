//! What begins at one server and ends at another.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::fleet::Fleet;
use crate::answer::Answer;
use crate::http::Http;

/// Lines of the output that does not fit into a result.
const LINES: u64 = 3_000;

/// Prints them.
fn script() -> String {
    format!("i=0; while [ $i -lt {LINES} ]; do echo line $i of a long output; i=$((i+1)); done")
}

/// What the script prints.
fn output() -> String {
    (0..LINES).map(|line| format!("line {line} of a long output\n")).collect()
}

/// An output that was kept, by its handle.
pub(super) fn keep(http: &mut Http) -> Result<String> {
    let arguments = json!({"argv": ["sh", "-c", script()], "max_output_bytes": 2000});
    let answer = http.call("run_command", &arguments, None)?.answer();
    let handle = answer.done().and_then(|done| done["stdout_handle"].as_str());
    handle.map(str::to_owned).with_context(|| format!("no handle: {}", answer.shown()))
}

/// Reads all of an output through these clients in turn; tells whether it is what was printed.
pub(super) fn read_on(clients: &mut [Http], handle: &str) -> Result<bool> {
    let (mut text, mut offset, mut turn) = (String::new(), 0, 0);
    loop {
        let at = turn % clients.len();
        let arguments = json!({"handle": handle, "offset": offset, "max_bytes": 20_000});
        let answer = clients[at].call("read_more", &arguments, None)?.answer();
        let done = answer.done().with_context(|| answer.shown())?;
        text += done["text"].as_str().unwrap_or_default();
        turn += 1;
        match done["next_offset"].as_u64() {
            Some(next) => offset = next,
            None => return Ok(text == output()),
        }
    }
}

/// Whether somebody else gets nothing.
pub(super) fn is_refused(http: &mut Http, handle: &str) -> Result<bool> {
    let answer = http.call("read_more", &json!({"handle": handle}), None)?.answer();
    Ok(matches!(answer, Answer::Failed { .. }))
}

/// A call that waits for the consent of a person.
pub(super) struct Asked {
    params: Value,
    state: Value,
}

/// Asks to delete a file, which needs consent.
pub(super) fn ask(fleet: &Fleet, http: &mut Http, name: &str) -> Result<Asked> {
    std::fs::write(fleet.work().join(name), "x")?;
    let params = json!({"name": "delete_path", "arguments": {"path": name}});
    let answer = http.call_stateless(&params)?.answer();
    let Answer::Done(result) = &answer else { anyhow::bail!("no question: {}", answer.shown()) };
    ensure!(result["resultType"] == "input_required", "no question: {}", answer.shown());
    ensure!(fleet.work().join(name).exists(), "it was deleted without consent");
    Ok(Asked { params, state: result["requestState"].clone() })
}

impl Asked {
    /// Consents, and tells what the call was answered with.
    pub(super) fn consent(&self, http: &mut Http) -> Result<Answer> {
        let mut params = self.params.clone();
        params["inputResponses"] =
            json!({"llmc/confirm": {"action": "accept", "content": {"confirm": true}}});
        params["requestState"] = self.state.clone();
        Ok(http.call_stateless(&params)?.answer())
    }
}
