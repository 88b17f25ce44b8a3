//! What the tools for processes cost every conversation: a client sends all names, descriptions and schemas to its model
//! each time.

use llmc_core::manifest::Item;
use llmc_core::serde_json::json;
use llmc_core::testing::item;
use llmc_tools_cmd::{ListProcesses, ReadOutput, SendInput, StartProcess, StopProcess};

/// Most that the five may take, in tokens of `o200k_base`.
const MAX_TOKENS: usize = 1550;

#[test]
fn the_tools_for_processes_fit_the_budget() {
    let tools = [
        item::<StartProcess>(),
        item::<SendInput>(),
        item::<ReadOutput>(),
        item::<StopProcess>(),
        item::<ListProcesses>(),
    ];
    let sent = tools.map(|tool| (tokens(&as_sent(&tool)), tokens(&output_schema(&tool)), tool.name));
    let sum: usize = sent.iter().map(|(all, ..)| all).sum();
    let table: Vec<String> =
        sent.iter().map(|(all, output, name)| format!("{all:6}{output:6} of output {name}")).collect();
    assert!(sum < MAX_TOKENS, "the tools take {sum} tokens:\n{}", table.join("\n"));
}

/// A tool as the server sends it, but for the order of its fields.
fn as_sent(item: &Item) -> String {
    let hints = item.annotations;
    json!({
        "name": item.name,
        "title": item.title,
        "description": item.description,
        "inputSchema": item.input_schema,
        "outputSchema": item.output_schema,
        "annotations": {
            "readOnlyHint": hints.read_only,
            "destructiveHint": hints.destructive,
            "idempotentHint": hints.idempotent,
            "openWorldHint": hints.open_world,
        },
    })
    .to_string()
}

fn output_schema(item: &Item) -> String {
    item.output_schema.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn tokens(text: &str) -> usize {
    tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len()
}
