//! A server on a port of its own, and a client that says exactly what it is told to say.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::canary;
use crate::support::{PATIENCE, Server, Setup, stage};

/// What a test server has beside its HTTP settings: file tools over `work`, and the plugin that misbehaves on request.
const PLUGINS: &str = "[roots]\nwork = { path = '{work}' }\n\
    [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = { roots = ['work'] }\n\
    [plugins.stress]\nlibrary = '{stress}'\n";

/// A server over HTTP.
pub(crate) struct Http {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    /// Sent with each well-behaved request.
    pub(crate) token: Option<String>,
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The text of a tool's result.
    pub(crate) fn text(&self) -> String {
        self.json()["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }
}

/// A configuration without authentication; `more` are further settings of `http`.
pub(crate) fn open(more: &str) -> Setup {
    configured(&format!("auth = 'none', {more}"), "")
}

/// `http` are settings beside the address, `rest` what follows.
pub(crate) fn configured(http: &str, rest: &str) -> Setup {
    Setup::new(&format!("server = {{ http = {{ listen = '127.0.0.1:0', {http} }} }}\n{PLUGINS}{rest}"))
        .file("a.txt", "first\nsecond\n")
}

impl Http {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start(setup: Setup) -> Self {
        let server = setup.serve_raw();
        let log = server.log_until("/mcp\n");
        let address = log.split("http://").nth(1).unwrap().split("/mcp").next().unwrap().parse().unwrap();
        let http = Self { server, address, token: None };
        crate::support::eventually("ready", || http.get("/readyz").status == 200);
        http
    }

    /// Starts a server without authentication.
    pub(crate) fn open() -> Self {
        Self::start(open(""))
    }

    /// Starts a server that asks for a token, and makes one.
    pub(crate) fn with_token(http: &str, rest: &str) -> Self {
        let setup = configured(&format!("tokens = 'tokens.json', {http}"), rest);
        let token = create_token(&setup, &["good"]);
        Self { token: Some(token), ..Self::start(setup) }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Sends bytes as they are and reads until the server closes, or says a whole answer.
    pub(crate) fn raw(&self, bytes: impl AsRef<[u8]>) -> Option<Reply> {
        let mut stream = self.connect();
        // A server that refuses may close before everything is written.
        let _ = stream.write_all(bytes.as_ref());
        read_reply(&mut stream)
    }

    /// The status that bytes are answered with.
    #[track_caller]
    pub(crate) fn status(&self, bytes: impl AsRef<[u8]>) -> u16 {
        let shown = String::from_utf8_lossy(&bytes.as_ref()[..bytes.as_ref().len().min(300)]).into_owned();
        self.raw(bytes).unwrap_or_else(|| panic!("no answer to {shown:?}")).status
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).unwrap()
    }

    /// A request as a good client makes it, with further headers.
    pub(crate) fn request(&self, message: &Value, headers: &str) -> Vec<u8> {
        let body = message.to_string();
        let token =
            self.token.as_ref().map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
        format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\n{token}{headers}Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .into_bytes()
    }

    /// Calls a tool as a good client.
    pub(crate) fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.raw(self.request(&call(tool, arguments), "")).unwrap()
    }

    /// A good client works: it reads a file.
    #[track_caller]
    pub(crate) fn works(&self) {
        let reply = self.call("read_file", json!({"path": "work:a.txt"}));
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(reply.text().contains("second"), "{reply:?}");
    }

    pub(crate) fn tools(&self) -> Vec<String> {
        let reply = self.raw(self.request(&message("tools/list", json!({})), "")).unwrap();
        let tools =
            reply.json()["result"]["tools"].as_array().cloned().unwrap_or_else(|| panic!("{reply:?}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn message(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

pub(crate) fn call(tool: &str, arguments: Value) -> Value {
    message("tools/call", json!({"name": tool, "arguments": arguments}))
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    assert_eq!(address.ip(), Ipv4Addr::LOCALHOST, "tests stay on loopback");
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads one answer; none if the server closes without one.
pub(crate) fn read_reply(stream: &mut impl Read) -> Option<Reply> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            Ok(_) => return None,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                return None;
            }
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&head)),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut reply = Reply { status, headers, body: String::new() };
    let mut body = Vec::new();
    match reply.header("content-length") {
        Some(length) => {
            body.resize(length.parse().unwrap(), 0);
            stream.read_exact(&mut body).unwrap();
        }
        None => {
            // To the end of the connection: who asks for an answer in pieces asks for that, too.
            let _ = stream.read_to_end(&mut body);
        }
    }
    canary::check("an answer over HTTP", &body);
    reply.body = String::from_utf8(body).unwrap();
    Some(reply)
}

/// Waits until the server closes a connection; tells whether it did in time.
pub(crate) fn is_closed_within(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Runs `llmc token create` with the configuration of a setup.
pub(crate) fn create_token(setup: &Setup, args: &[&str]) -> String {
    let output = token(setup, "create", args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Runs `llmc token VERB ARGS`.
pub(crate) fn token(setup: &Setup, verb: &str, args: &[&str]) -> std::process::Output {
    // Writes the configuration file.
    drop(setup.command("serve"));
    let mut command = Command::new(stage().join("bin/llmc"));
    command.args(["token", verb]).args(args).arg("--config").arg(setup.folder.path().join("llmc.toml"));
    command.env_clear().output().unwrap()
}

/// What a server has recorded in `audit.jsonl`, once it contains this text so many times: records are written together.
#[track_caller]
pub(crate) fn audit_until(setup: &Setup, text: &str, times: usize) -> String {
    let file = setup.folder.path().join("audit.jsonl");
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    crate::support::eventually("recorded", || read().matches(text).count() >= times);
    read()
}
