//! A client over HTTP/1.1, one request on a connection at a time, to a Unix socket or a port of loopback.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::stdio::{PROTOCOL, call_params};

/// Longest body that is read.
const MAX_BODY_BYTES: u64 = 64 << 20;

/// The revision in which every request says everything.
pub(crate) const STATELESS: &str = "2026-07-28";

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Unix(PathBuf),
    Loopback(SocketAddr),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Loopback(address) => write!(formatter, "{address}"),
        }
    }
}

/// Something that bytes go through.
pub(crate) trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A client, with a connection if one is open.
pub(crate) struct Http {
    place: Place,
    token: Option<String>,
    patience: Duration,
    connection: Option<BufReader<Box<dyn Stream>>>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in small letters.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What a call was answered with: a message, or the status as a typed error.
    pub(crate) fn answer(&self) -> Answer {
        if self.status != 200 {
            let text = String::from_utf8_lossy(&self.body).trim().to_owned();
            return Answer::Failed { kind: format!("http {}", self.status), text };
        }
        match self.message() {
            Some(message) => Answer::of(message),
            None => Answer::Odd(format!("no message in {} bytes", self.body.len())),
        }
    }

    /// The answer in the body: as it is, or the last event of a stream.
    pub(crate) fn message(&self) -> Option<Value> {
        if !self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return serde_json::from_slice(&self.body).ok();
        }
        let text = String::from_utf8_lossy(&self.body);
        let events = text.lines().filter_map(|line| line.strip_prefix("data:")).rev();
        let mut messages = events.filter_map(|event| serde_json::from_str::<Value>(event.trim()).ok());
        messages.find(|message| message.get("id").is_some() && message.get("method").is_none())
    }
}

impl Http {
    pub(crate) fn new(place: Place, token: Option<String>, patience: Duration) -> Self {
        Self { place, token, patience, connection: None }
    }

    /// A new connection to the same place.
    pub(crate) fn connect(&self) -> Result<Box<dyn Stream>> {
        let what = || format!("failed to connect to {}", self.place);
        Ok(match &self.place {
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).with_context(what)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                Box::new(stream)
            }
            Place::Loopback(address) => {
                ensure!(address.ip().is_loopback(), "{address} is not on loopback");
                let stream = TcpStream::connect_timeout(address, self.patience).with_context(what)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.patience))?;
                stream.set_write_timeout(Some(self.patience))?;
                Box::new(stream)
            }
        })
    }

    /// Calls a tool.
    pub(crate) fn call(&mut self, tool: &str, arguments: &Value, trace: Option<&str>) -> Result<Reply> {
        let message = message("tools/call", &call_params(tool, arguments, trace));
        self.post(&message, &format!("MCP-Protocol-Version: {PROTOCOL}\r\n"))
    }

    /// Calls a tool as a client of the stateless revision that can ask its user.
    pub(crate) fn call_stateless(&mut self, params: &Value) -> Result<Reply> {
        let mut params = params.clone();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": STATELESS,
            "io.modelcontextprotocol/clientInfo": {"name": "llmc-chaos", "version": "0"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        });
        let name = params["name"].as_str().unwrap_or_default();
        let headers =
            format!("MCP-Protocol-Version: {STATELESS}\r\nMcp-Method: tools/call\r\nMcp-Name: {name}\r\n");
        self.post(&message("tools/call", &params), &headers)
    }

    /// Introduces itself as a client of an earlier revision; returns what it is to say from then on.
    pub(crate) fn introduce(&mut self) -> Result<String> {
        let client = json!({"name": "llmc-chaos", "version": "0"});
        let params = json!({"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client});
        let reply = self.post(&message("initialize", &params), "")?;
        let session = reply.header("mcp-session-id").map(str::to_owned);
        session.with_context(|| format!("no session, but {}", reply.answer().shown()))
    }

    /// The status that a client gets who introduced itself so.
    pub(crate) fn ping(&mut self, session: &str) -> Result<u16> {
        let headers = format!("MCP-Protocol-Version: {PROTOCOL}\r\nMcp-Session-Id: {session}\r\n");
        Ok(self.post(&message("ping", &json!({})), &headers)?.status)
    }

    /// Asks for a page.
    pub(crate) fn get(&mut self, path: &str) -> Result<Reply> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        self.exchange(request.as_bytes())
    }

    fn post(&mut self, message: &Value, headers: &str) -> Result<Reply> {
        let request = self.request(message, headers);
        self.exchange(&request)
    }

    /// The bytes of a request.
    pub(crate) fn request(&self, message: &Value, headers: &str) -> Vec<u8> {
        let body = message.to_string();
        let token =
            self.token.as_ref().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        let length = body.len();
        format!(
            "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{token}{headers}Content-Length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }

    /// Sends a request and reads the answer. A connection that the server has closed meanwhile is replaced, as long as
    /// it cannot have read the request.
    fn exchange(&mut self, request: &[u8]) -> Result<Reply> {
        let mut is_new = self.connection.is_none();
        loop {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => BufReader::new(self.connect()?),
            };
            let sent = connection.get_mut().write_all(request);
            let reply = sent.map_err(Into::into).and_then(|()| read(&mut connection));
            match reply {
                Ok(reply) => {
                    if !reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                        self.connection = Some(connection);
                    }
                    return Ok(reply);
                }
                // An idle connection was closed before the request came: no byte of an answer, at once.
                Err(error) if !is_new && was_closed(&error) => is_new = true,
                Err(error) => return Err(error),
            }
        }
    }
}

/// A JSON-RPC request.
pub(crate) fn message(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

/// The other side closed before it said anything.
#[derive(Debug)]
struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the connection was closed without an answer")
    }
}

impl std::error::Error for Closed {}

/// Whether a connection was closed without an answer.
pub(crate) fn was_closed(error: &anyhow::Error) -> bool {
    let by_kernel = |error: &std::io::Error| {
        matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe)
    };
    error.is::<Closed>() || error.downcast_ref::<std::io::Error>().is_some_and(by_kernel)
}

fn read(connection: &mut BufReader<Box<dyn Stream>>) -> Result<Reply> {
    let mut line = String::new();
    if connection.read_line(&mut line)? == 0 {
        return Err(Closed.into());
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let mut reply = Reply { status: status.context("no status")?, ..Reply::default() };
    loop {
        line.clear();
        ensure!(connection.read_line(&mut line)? > 0, "the answer ended in its head");
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        reply.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    reply.body = match (reply.header("content-length"), reply.header("transfer-encoding")) {
        (Some(length), _) => {
            let length: u64 = length.parse()?;
            ensure!(length <= MAX_BODY_BYTES, "an answer of {length} bytes");
            let mut body = vec![0; usize::try_from(length)?];
            connection.read_exact(&mut body)?;
            body
        }
        (None, Some("chunked")) => chunks(connection)?,
        (None, Some(other)) => bail!("an answer in `{other}`"),
        (None, None) if matches!(reply.status, 204 | 304) => Vec::new(),
        (None, None) => bail!("an answer of unknown length"),
    };
    Ok(reply)
}

fn chunks(connection: &mut BufReader<Box<dyn Stream>>) -> Result<Vec<u8>> {
    let (mut body, mut line) = (Vec::new(), String::new());
    loop {
        line.clear();
        ensure!(connection.read_line(&mut line)? > 0, "the answer ended between two pieces");
        let length = usize::from_str_radix(line.trim(), 16)?;
        ensure!((body.len() + length) as u64 <= MAX_BODY_BYTES, "an answer without end");
        let begin = body.len();
        body.resize(begin + length, 0);
        connection.read_exact(&mut body[begin..])?;
        line.clear();
        connection.read_line(&mut line)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replied(text: &str) -> Result<Reply> {
        let stream: Box<dyn Stream> = Box::new(std::io::Cursor::new(text.as_bytes().to_vec()));
        read(&mut BufReader::new(stream))
    }

    #[test]
    fn bodies_of_both_kinds_are_read() {
        let plain =
            replied("HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n{\"id\":1,\"result\":{} }\n").unwrap();
        assert!(matches!(plain.answer(), Answer::Done(_)), "{plain:?}");
        let event = "data: {\"method\":\"x\"}\n\ndata: {\"id\":1,\"result\":{}}\n\n";
        let pieces = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{event}\r\n0\r\n\r\n",
            event.len()
        );
        assert!(matches!(replied(&pieces).unwrap().answer(), Answer::Done(_)));
    }

    #[test]
    fn a_refusal_is_typed_and_half_an_answer_is_none() {
        let busy = replied("HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno").unwrap().answer();
        assert_eq!(busy, Answer::Failed { kind: "http 503".into(), text: "no".into() });
        assert!(was_closed(&replied("").unwrap_err()));
        for half in ["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "HTTP/1.1 200 OK\r\n", "x"] {
            assert!(!was_closed(&replied(half).unwrap_err()), "{half}");
        }
    }
}
