//! Asks the `llmc` that lies beside this program.
//!
//! No variable names another one: whoever sets variables must not choose what is started.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The tool ran or was refused; any other exit code of `llmc` means that it did not come to that.
const TOOL_ERROR: i32 = 5;
/// What is told of an answer that cannot be read, in characters.
const MAX_TOLD: usize = 300;

/// What came back.
pub(crate) enum Reply {
    /// Texts with their places, and the exit code of the command.
    Answer { blocks: Vec<(String, String)>, exit: u8 },
    /// The call did not reach the tool, or the tool could not begin.
    Refused(String),
}

/// Makes the call.
pub(crate) fn ask(config: Option<&Path>, arguments: &Value) -> Result<Reply, String> {
    let program = beside()?;
    let mut command = Command::new(&program);
    command.args(["call", "te_run", "-", "--json", "--only-needed", "--log", "error"]);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let output = talk(command, &arguments.to_string())
        .map_err(|error| format!("failed to run `{}`: {error}", program.display()))?;
    read(&output)
}

fn beside() -> Result<PathBuf, String> {
    let own = std::env::current_exe()
        .map_err(|error| format!("the place of this program is not known: {error}"))?;
    Ok(own.with_file_name("llmc"))
}

fn talk(mut command: Command, text: &str) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // It reads all of it before it answers, or ends without reading: then its exit code tells.
        let _ = stdin.write_all(text.as_bytes());
    }
    child.wait_with_output()
}

fn read(output: &Output) -> Result<Reply, String> {
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("llmc: ").to_owned();
    if output.stdout.is_empty() {
        return match output.status.code() {
            Some(TOOL_ERROR) if said.contains("there is no tool `te_run`") => {
                let how = "`llmc plugin add te` adds it, and its README lists what to grant it";
                Ok(Reply::Refused(format!("`te_run` is not switched on: {how}")))
            }
            Some(TOOL_ERROR) => Ok(Reply::Refused(said)),
            _ => Err(if said.is_empty() { format!("llmc ended with {}", output.status) } else { said }),
        };
    }
    parse(&output.stdout).ok_or_else(|| {
        let raw = String::from_utf8_lossy(&output.stdout);
        let raw: String = raw.chars().take(MAX_TOLD).collect();
        format!("llmc answered what is no result of te_run: {raw}")
    })
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let envelope: Value = serde_json::from_slice(bytes).ok()?;
    let about = &envelope["meta"]["te"];
    let exit = about["exit"].as_i64()?;
    let texts = envelope["content"].as_array().map_or(&[][..], Vec::as_slice);
    let places = about["to"].as_array()?;
    let block = |(place, text): (&Value, &Value)| {
        Some((place.as_str()?.to_owned(), text["text"].as_str()?.to_owned()))
    };
    let blocks = places.iter().zip(texts).map(block).collect::<Option<_>>()?;
    // What is no exit code of a program is told as a failure.
    Some(Reply::Answer { blocks, exit: u8::try_from(exit).unwrap_or(1) })
}
