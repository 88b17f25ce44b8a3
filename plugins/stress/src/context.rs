//! Tools that use what the host offers, without shame.

use llmc_core::prelude::*;

/// The configuration of this plugin.
#[arguments]
#[derive(Default)]
#[serde(default)]
pub(crate) struct Settings {
    /// Any text; `stress_context` answers with it.
    marker: String,
}

/// Answers with what a plugin gets to see of its surroundings.
#[arguments]
pub(crate) struct StressContext;

#[output]
pub(crate) struct Surroundings {
    /// Number of the call.
    request_id: u64,
    /// Milliseconds until the deadline.
    remaining_ms: u64,
    /// Granted roots as `name=path:access`.
    roots: Vec<String>,
    /// The marker in the configuration.
    marker: String,
}

#[tool(READ_ONLY)]
fn stress_context(_: StressContext, ctx: &Context) -> ToolResult<Surroundings> {
    let describe = |root: &Root| {
        let access = if root.access.is_writable() { "rw" } else { "ro" };
        format!("{}={}:{access}", root.name, root.path.display())
    };
    Ok(Surroundings {
        request_id: ctx.request_id(),
        remaining_ms: u64::try_from(ctx.remaining().as_millis()).unwrap_or(u64::MAX),
        roots: ctx.roots()?.iter().map(describe).collect(),
        marker: ctx.config::<Settings>()?.marker,
    })
}

/// Calls another tool and answers with its result.
#[arguments]
pub(crate) struct StressNested {
    /// Name of the tool.
    tool: String,
    /// Its arguments; none by default.
    #[serde(default)]
    arguments: llmc_core::serde_json::Map<String, Value>,
}

#[tool(READ_ONLY)]
fn stress_nested(args: StressNested, ctx: &Context) -> ToolResult<Envelope> {
    ctx.call_tool(&args.tool, &args.arguments)
}

/// Answers with the value of a secret.
#[arguments]
pub(crate) struct StressSecret {
    /// Name of the secret.
    name: String,
}

#[tool(READ_ONLY)]
fn stress_secret(args: StressSecret, ctx: &Context) -> ToolResult<String> {
    let secret = ctx.secret(&args.name)?;
    ctx.info(format_args!("the secret is {}", secret.expose()));
    Ok(format!("the secret is {}", secret.expose()))
}

/// Uses the state folder, and answers with what the file contains afterwards.
#[arguments]
pub(crate) struct StressState {
    /// Path that is appended to that of the folder.
    path: String,
    /// What to write first; nothing by default.
    #[serde(default)]
    write: Option<String>,
}

#[tool(READ_ONLY)]
fn stress_state(args: StressState, ctx: &Context) -> ToolResult<String> {
    let path = std::path::PathBuf::from(format!("{}/{}", ctx.state_dir()?.display(), args.path));
    if let Some(text) = args.write {
        std::fs::write(&path, text).explain("failed to write")?;
    }
    std::fs::read_to_string(&path).explain("failed to read")
}

#[cfg(test)]
mod tests {
    use llmc_core::testing::Harness;

    use super::*;

    #[test]
    fn a_jail_has_what_the_harness_grants_and_nothing_else() {
        let folder = env!("CARGO_MANIFEST_DIR");
        let harness = Harness::new()
            .root("src", folder, Access::Ro)
            .secret("KEY", "hush-hush-hush")
            .state("/ignored")
            .config(json!({"marker": "it's \"me\""}));
        let jail = harness.in_jail::<StressContext>();
        let surroundings = jail.call::<StressContext>(json!({})).unwrap().structured.unwrap();
        assert_eq!(surroundings["roots"], json!([format!("src={folder}:ro")]));
        assert_eq!(surroundings["marker"], "it's \"me\"");
        let secret = jail.call::<StressSecret>(json!({"name": "KEY"})).unwrap().all_text();
        assert!(secret.starts_with("the secret is ") && !secret.contains("hush"), "masked: {secret}");
        assert_eq!(jail.call::<StressSecret>(json!({"name": "OTHER"})).unwrap_err().kind, "denied");
        let write = json!({"path": "/note", "write": "kept"});
        assert_eq!(jail.call::<StressState>(write).unwrap().all_text(), "kept");

        let bare = Harness::new().in_jail::<StressContext>();
        assert_eq!(bare.call::<StressSecret>(json!({"name": "KEY"})).unwrap_err().kind, "denied");
        let refused = bare.call::<StressState>(json!({"path": "/note", "write": "kept"})).unwrap_err();
        assert_eq!(refused.kind, "denied");
        assert!(refused.message.contains("state"), "{refused}");
        let surroundings = bare.call::<StressContext>(json!({})).unwrap().structured.unwrap();
        assert_eq!((&surroundings["roots"], &surroundings["marker"]), (&json!([]), &json!("")));
    }
}
