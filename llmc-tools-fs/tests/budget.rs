//! What the tools cost every conversation: a client sends all names, descriptions and schemas to its model each time.
//!
//! The texts are prompts, so they are kept in `tools.json` word for word: a change of them is a change of the
//! interface, and shows in review.

use std::path::Path;

use llmc_core::manifest::Item;
use llmc_core::serde_json::{Value, json};
use llmc_core::testing::item;
use llmc_tools_fs::*;

/// Most that `tools/list` may take, in tokens of `o200k_base`.
const MAX_TOKENS: usize = 3500;

/// Names of types and what the manifest says about them.
macro_rules! tools {
    ($($tool:ident),+ $(,)?) => { [$((stringify!($tool), item::<$tool>())),+] };
}

fn tools() -> Vec<(&'static str, Item)> {
    tools![
        ReadFile,
        ReadFiles,
        ListDir,
        Tree,
        Stat,
        FindFiles,
        SearchFiles,
        WriteFile,
        AppendFile,
        EditFile,
        CreateDir,
        MovePath,
        CopyPath,
        DeletePath
    ]
    .into()
}

/// A tool as the server sends it, see `llmc-server/src/mcp/convert.rs`.
fn as_sent(item: &Item) -> String {
    let hints = item.annotations;
    let texts = |name: &str, text: &str| format!("{}:{}", json!(name), json!(text));
    let values = |name: &str, value: &Value| format!("{}:{value}", json!(name));
    let hints = [
        ("readOnlyHint", hints.read_only),
        ("destructiveHint", hints.destructive),
        ("idempotentHint", hints.idempotent),
        ("openWorldHint", hints.open_world),
    ];
    let hints = hints.map(|(name, hint)| values(name, &hint.into())).join(",");
    let mut fields = vec![
        texts("name", &item.name),
        texts("title", &item.title),
        texts("description", &item.description),
        values("inputSchema", &item.input_schema),
    ];
    fields.extend(item.output_schema.as_ref().map(|schema| values("outputSchema", schema)));
    fields.push(format!("\"annotations\":{{{hints}}}"));
    format!("{{{}}}", fields.join(","))
}

#[test]
fn every_exported_tool_is_counted() {
    let source = include_str!("../src/lib.rs");
    let (_, list) = source.split_once("export_plugin!(\"fs\":").expect("lib.rs exports the plugin");
    let (list, _) = list.split_once(';').expect("a semicolon ends the list");
    let exported: Vec<_> = list.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let counted: Vec<_> = tools().into_iter().map(|(name, _)| name).collect();
    assert_eq!(counted, exported);
}

#[test]
fn all_tools_fit_the_budget() {
    let tools = tools();
    let sent: Vec<_> = tools.iter().map(|(_, item)| as_sent(item)).collect();
    let sum = tokens(&format!("[{}]", sent.join(",")));
    let mut table = vec!["   all  text input output".to_owned()];
    table.extend(tools.iter().zip(&sent).map(|((_, item), sent)| {
        let output = item.output_schema.as_ref().map_or(0, |schema| tokens(&schema.to_string()));
        let (text, input) = (tokens(&item.description), tokens(&item.input_schema.to_string()));
        format!("{:6}{text:6}{input:6}{output:7} {}", tokens(sent), item.name)
    }));
    table.push(format!("{sum:6} of {MAX_TOKENS}"));
    let table = table.join("\n");
    assert!(sum < MAX_TOKENS, "the tools take too many tokens:\n{table}");
    eprintln!("{table}");
}

fn tokens(text: &str) -> usize {
    tiktoken_rs::o200k_base_singleton().encode_ordinary(text).len()
}

#[test]
fn the_texts_are_those_that_were_agreed() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tools.json");
    let tools: Vec<Value> = tools()
        .iter()
        .map(|(_, item)| llmc_core::serde_json::from_str(&as_sent(item)).expect("it is JSON"))
        .collect();
    let texts = format!("{:#}\n", Value::Array(tools));
    if std::env::var_os("LLMC_BLESS").is_some() {
        std::fs::write(&file, &texts).unwrap();
    }
    let agreed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        texts == agreed,
        "names, descriptions or schemas differ from {}.\nTo write the new ones: LLMC_BLESS=1 cargo test -p \
         llmc-tools-fs --test budget\n\n{texts}",
        file.display()
    );
}
