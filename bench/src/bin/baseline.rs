//! What llmc is compared with: a plain MCP server on rmcp whose tools run in its own process, as most servers do.
//!
//! It offers the same two tools as the llmc beside it. Their schemas and the form of their answers come from a
//! file that the benchmark writes after it has asked llmc, so that both sides parse and send the same bytes.

use std::convert::Infallible;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::transport::io::stdio_pipes;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler, ServiceExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (root, like) =
        arguments.next().zip(arguments.next()).context("usage: bench-baseline ROOT LIKE.json [--http]")?;
    let over_http = arguments.next().is_some();
    let like: Like = serde_json::from_slice(&std::fs::read(like)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let baseline = Baseline { root, like: Arc::new(like) };
        if over_http {
            return serve_http(baseline).await;
        }
        let service = baseline.serve(stdio_pipes()).await?;
        service.waiting().await?;
        Ok(())
    })
}

/// As rmcp serves HTTP at its fastest: without sessions, answers in JSON.
async fn serve_http(baseline: Baseline) -> Result<()> {
    let settings =
        StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true);
    let sessions: Arc<NeverSessionManager> = Arc::default();
    let service = StreamableHttpService::new(move || Ok(baseline.clone()), sessions, settings);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let _ = writeln!(std::io::stderr(), "serving MCP at http://{}/mcp", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service.clone();
        let answer = service_fn(move |request| {
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.handle(request).await) }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

/// What llmc said.
#[derive(Deserialize)]
struct Like {
    tools: Vec<Tool>,
    read_file: Sample,
}

/// An answer of `read_file`.
#[derive(Deserialize)]
struct Sample {
    /// The whole file that was read.
    file: String,
    /// The text for the model.
    text: String,
    structured: Option<Value>,
}

#[derive(Clone)]
struct Baseline {
    root: PathBuf,
    like: Arc<Like>,
}

#[derive(Deserialize)]
struct Hello {
    name: String,
}

#[derive(Deserialize)]
struct ReadFile {
    path: PathBuf,
}

impl ServerHandler for Baseline {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        let implementation = Implementation::new("bench-baseline", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(implementation)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.like.tools.clone()))
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (text, structured) = match &*params.name {
            // Plugins of one library have prefixes.
            name if name == "hello" || name.ends_with("_hello") => self.hello(parsed(params.arguments)?),
            "read_file" => self.read_file(&parsed(params.arguments)?)?,
            other => return Err(ErrorData::invalid_params(format!("there is no tool `{other}`"), None)),
        };
        let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
        result.structured_content = structured;
        Ok(result.into())
    }
}

impl Baseline {
    fn hello(&self, arguments: Hello) -> (String, Option<Value>) {
        let text = format!("Hello, {}!", arguments.name);
        (text.clone(), Some(json!({ "text": text })))
    }

    fn read_file(&self, arguments: &ReadFile) -> Result<(String, Option<Value>), ErrorData> {
        let file = std::fs::read_to_string(self.root.join(&arguments.path))
            .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let sample = &self.like.read_file;
        let structured = sample.structured.as_ref().map(|value| filled(value, &sample.file, &file));
        let text = if sample.text == sample.file { file } else { sample.text.clone() };
        Ok((text, structured))
    }
}

fn parsed<T: DeserializeOwned>(arguments: Option<Map<String, Value>>) -> Result<T, ErrorData> {
    serde_json::from_value(Value::Object(arguments.unwrap_or_default()))
        .map_err(|error| ErrorData::invalid_params(error.to_string(), None))
}

/// The same value with the new text wherever the old one stood.
fn filled(value: &Value, old: &str, new: &str) -> Value {
    match value {
        Value::String(text) if text == old => Value::from(new),
        Value::Array(items) => items.iter().map(|item| filled(item, old, new)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, field)| (name.clone(), filled(field, old, new))).collect()
        }
        other => other.clone(),
    }
}
