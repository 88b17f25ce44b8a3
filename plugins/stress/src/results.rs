//! Tools whose results are not what they should be.

use llmc_core::prelude::*;

/// Answers with bytes that are not JSON.
#[arguments]
pub(crate) struct StressBadJson;

#[tool(READ_ONLY)]
fn stress_bad_json(_: StressBadJson, _ctx: &Context) -> ToolResult<NotJson> {
    Ok(NotJson)
}

pub(crate) struct NotJson;

impl Output for NotJson {
    fn schema() -> Option<Value> {
        None
    }

    fn into_envelope(self) -> ToolResult<Envelope> {
        Ok(Envelope::text("only the bytes below are sent"))
    }

    fn into_json(self) -> ToolResult<Vec<u8>> {
        Ok(b"{\"content\": [\xff\xfe".to_vec())
    }
}

/// Answers with data that its own output schema forbids.
#[arguments]
pub(crate) struct StressWrongOutput;

impl Tool for StressWrongOutput {
    const NAME: &'static str = "stress_wrong_output";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Envelope;

    fn call(self, _ctx: &Context) -> ToolResult<Envelope> {
        Envelope::structured(&json!({"count": "many"}), "many")
    }

    fn output_schema() -> Option<Value> {
        Some(json!({
            "type": "object",
            "properties": {"count": {"type": "integer"}},
            "required": ["count"],
        }))
    }
}

/// Answers with a very long text.
#[arguments]
pub(crate) struct StressHuge {
    /// Length of the text in bytes.
    #[schemars(range(max = 1_000_000_000))]
    bytes: usize,
}

#[tool(READ_ONLY)]
fn stress_huge(args: StressHuge, _ctx: &Context) -> ToolResult<Envelope> {
    Ok(Envelope::text("x".repeat(args.bytes)))
}
