//! A real MCP client: rmcp's, over a child process.

use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::TokioChildProcess;
use serde_json::json;

use crate::support::Setup;

#[tokio::test(flavor = "multi_thread")]
async fn rmcp_lists_and_calls() {
    let setup = Setup::new(
        "[roots]\nwork = { path = '{work}' }\n\
         [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }",
    )
    .file("a.txt", "first\nsecond\n");
    let command = tokio::process::Command::from(setup.command("serve"));
    let client = ().serve(TokioChildProcess::new(command).unwrap()).await.unwrap();

    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "read_file"));
    let arguments = json!({"path": "work:a.txt"}).as_object().unwrap().clone();
    let result =
        client.call_tool(CallToolRequestParams::new("read_file").with_arguments(arguments)).await.unwrap();
    assert_ne!(result.is_error, Some(true), "{result:?}");
    assert!(result.structured_content.unwrap()["text"].as_str().unwrap().contains("second"));
    client.cancel().await.unwrap();
}
