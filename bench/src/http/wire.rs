//! HTTP as far as these servers speak it: one connection, one request after the other, bodies of a known length or in
//! pieces.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

/// Where a server listens.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// As the `Host` of a request.
impl Display for Address {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(_) => out.write_str("localhost"),
        }
    }
}

impl Address {
    async fn connect(&self) -> Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
        })
    }
}

/// Either kind of connection.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A tool of a server, and how it is called.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) tool: String,
    pub(crate) arguments: Value,
    /// What every answer contains.
    pub(crate) expected: String,
    /// The server keeps a session for each client.
    pub(crate) has_sessions: bool,
}

/// A client.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    read: Vec<u8>,
    request: Vec<u8>,
    expected: Vec<u8>,
}

/// An answer.
struct Answer {
    status: u16,
    session: Option<String>,
    body: Vec<u8>,
}

impl Wire {
    /// Connects, and begins a session where there are any.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let stream = target.address.connect().await?;
        let expected = target.expected.clone().into_bytes();
        let mut wire = Self { stream, read: Vec::new(), request: Vec::new(), expected };
        let mut headers = "MCP-Protocol-Version: 2025-11-25\r\n".to_owned();
        if target.has_sessions {
            let params = json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "bench", "version": "0"},
            });
            let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
            let answer = wire.exchange(&request(&target.address, "", &hello)).await?;
            let session = answer.session.context("the server gave no session")?;
            headers += &format!("Mcp-Session-Id: {session}\r\n");
            let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            wire.exchange(&request(&target.address, &headers, &ready)).await?;
        }
        let params = json!({"name": target.tool, "arguments": target.arguments});
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        wire.request = request(&target.address, &headers, &call);
        Ok(wire)
    }

    /// Calls the tool.
    pub(crate) async fn call(&mut self) -> Result<()> {
        let request = std::mem::take(&mut self.request);
        let answer = self.exchange(&request).await;
        self.request = request;
        let answer = answer?;
        let is_good = answer.status == 200
            && answer.body.windows(self.expected.len()).any(|part| part == self.expected);
        ensure!(is_good, "status {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(())
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request).await?;
        let head_bytes = loop {
            match self.read.windows(4).position(|part| part == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.more().await?,
            }
        };
        let head: Vec<u8> = self.read.drain(..head_bytes).collect();
        let head = String::from_utf8(head)?.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
        let header = |name: &str| {
            let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
            lines.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.trim().to_owned())
        };
        let body = match (header("content-length"), header("transfer-encoding")) {
            (Some(length), _) => self.exactly(length.parse()?).await?,
            (None, Some(_)) => self.pieces().await?,
            (None, None) if status == 202 || status == 204 => Vec::new(),
            (None, None) => bail!("an answer of unknown length"),
        };
        Ok(Answer { status, session: header("mcp-session-id"), body })
    }

    async fn pieces(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line_bytes = loop {
                match self.read.windows(2).position(|part| part == b"\r\n") {
                    Some(at) => break at + 2,
                    None => self.more().await?,
                }
            };
            let line: Vec<u8> = self.read.drain(..line_bytes).collect();
            let bytes = usize::from_str_radix(std::str::from_utf8(&line)?.trim(), 16)?;
            let piece = self.exactly(bytes + 2).await?;
            if bytes == 0 {
                return Ok(body);
            }
            body.extend_from_slice(&piece[..bytes]);
        }
    }

    async fn exactly(&mut self, bytes: usize) -> Result<Vec<u8>> {
        while self.read.len() < bytes {
            self.more().await?;
        }
        Ok(self.read.drain(..bytes).collect())
    }

    async fn more(&mut self) -> Result<()> {
        ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server closed the connection");
        Ok(())
    }
}

fn request(address: &Address, headers: &str, message: &Value) -> Vec<u8> {
    let body = message.to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
