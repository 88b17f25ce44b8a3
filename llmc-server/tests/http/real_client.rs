//! A real MCP client: rmcp's, in both lifecycles. It speaks HTTP over a Unix socket, as to a proxy beside it; a relay
//! carries the bytes to the server as they are.

use std::net::SocketAddr;
use std::path::Path;

use rmcp::ServiceExt;
use rmcp::model::CallToolRequestParams;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, UnixSocketHttpClient};
use serde_json::json;
use tokio::net::{TcpStream, UnixListener};

use crate::client::Http;

/// Carries bytes between a Unix socket and a server on loopback.
fn relay(socket: &Path, server: SocketAddr) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(server).await.unwrap();
                // Either side may leave when it likes.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn rmcp_lists_calls_and_is_refused_without_a_token() {
    let http = Http::with_token("", "");
    let socket = http.server.setup.folder.path().join("relay");
    relay(&socket, http.address);
    let uri = format!("http://{}/mcp", http.address);
    let transport = |token: &str| {
        let client = UnixSocketHttpClient::new(socket.to_str().unwrap(), &uri);
        let config = StreamableHttpClientTransportConfig::with_uri(uri.as_str()).auth_header(token);
        StreamableHttpClientTransport::with_client(client, config)
    };
    assert!(().serve(transport("llmc_wrong")).await.is_err());

    let client = ().serve(transport(http.token.as_ref().unwrap())).await.unwrap();
    let tools = client.list_all_tools().await.unwrap();
    assert!(tools.iter().any(|tool| tool.name == "read_file"));
    let arguments = json!({"path": "work:a.txt"}).as_object().unwrap().clone();
    let read =
        client.call_tool(CallToolRequestParams::new("read_file").with_arguments(arguments)).await.unwrap();
    assert_ne!(read.is_error, Some(true), "{read:?}");
    assert!(read.structured_content.unwrap()["text"].as_str().unwrap().contains("second"));
    client.cancel().await.unwrap();
    http.server.stop();
}
