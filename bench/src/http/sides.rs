//! The servers: llmc, a plain one on rmcp with the same tools, and the reference server for Node.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::wire::{Address, Target};
use crate::program::Program;
use crate::servers::{NOTE, Servers, TOOLS};

const PATIENCE: Duration = Duration::from_secs(20);

/// Calls a minute that nobody makes: what llmc limits by default is not what is measured.
pub(crate) const NO_LIMIT: u32 = 4_000_000;

/// Connections and requests at a time that llmc is told to take beyond those that there are.
const FURTHER: usize = 64;
/// Milliseconds that an idle connection is kept, longer than any is idle.
const KEPT_MS: u64 = 600_000;

/// The reference server inside the folder where npm put it.
const EVERYTHING: &str = "node_modules/@modelcontextprotocol/server-everything/dist/index.js";

/// A running server.
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) targets: Vec<Target>,
    process: Child,
    _servers: Option<Servers>,
}

impl Side {
    /// Id of the server's process.
    pub(super) fn process(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // One that has ended is what was wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// All that can be started, for so many connections, and what cannot.
pub(crate) fn sides(
    stage: &Path,
    connections: usize,
    node: Option<&Path>,
) -> Result<(Vec<Side>, Vec<String>)> {
    let servers = Servers::new(stage)?;
    let config = tempfile::NamedTempFile::with_suffix(".toml")?;
    let most = connections.saturating_add(FURTHER);
    let limits = format!(
        "listen = '127.0.0.1:0', auth = 'none', requests_per_minute = {NO_LIMIT}, connections = {most}, \
         concurrent_requests = {most}, client_timeout_ms = {KEPT_MS}"
    );
    std::fs::write(&config, format!("server = {{ http = {{ {limits} }} }}\n"))?;
    let mut llmc = servers.llmc(&["--plugin", "hello", "--no-stdio", "--config"]);
    let llmc = side("llmc", llmc.arg(config.path()))?;
    let mut plain = side("plain rmcp", servers.baseline().arg("--http"))?;
    plain._servers = Some(servers);
    let (mut sides, mut missing) = (vec![llmc, plain], Vec::new());
    match node.map(everything) {
        Some(Ok(side)) => sides.push(side),
        Some(Err(error)) => missing.push(format!("the reference server for Node: {error:#}")),
        None => missing.push(
            "the reference server for Node: `cargo xtask bench -- peers --install` installs it".to_owned(),
        ),
    }
    Ok((sides, missing))
}

/// Starts a server that says its address on stderr.
fn side(name: &str, command: &mut Command) -> Result<Side> {
    let mut process = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {name}"))?;
    let stderr = BufReader::new(process.stderr.take().context("no stderr")?);
    let (sender, addresses) = channel();
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()?.parse().ok());
            // Read to its end, so that the server never waits for us.
            if let Some(address) = address {
                let _ = sender.send(address);
            }
        }
    });
    let address: SocketAddr =
        addresses.recv_timeout(PATIENCE).with_context(|| format!("{name} did not say where it is"))?;
    let target = |tool: &str, arguments, expected: &str| Target {
        address: Address::Tcp(address),
        tool: tool.to_owned(),
        arguments,
        expected: expected.to_owned(),
        has_sessions: false,
    };
    let targets = vec![
        target(TOOLS[0], json!({"name": "Ada"}), "Hello, Ada!"),
        target(TOOLS[1], json!({"path": NOTE}), "the last line of the note"),
    ];
    Ok(Side { name: name.to_owned(), targets, process, _servers: None })
}

fn everything(folder: &Path) -> Result<Side> {
    let node = Program::find(&["node"]).context("there is no `node`")?;
    let script = folder.join(EVERYTHING);
    ensure!(script.exists(), "`{}` is missing; run `npm ci` there", script.display());
    // It cannot be told to choose a port itself.
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(&node.file);
    command.arg(script).arg("streamableHttp").env("PORT", address.port().to_string());
    let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let target = Target {
        address: Address::Tcp(address),
        tool: "echo".to_owned(),
        arguments: json!({"message": "Hello, Ada!"}),
        expected: "Hello, Ada!".to_owned(),
        has_sessions: true,
    };
    let name = format!("Node reference ({})", node.version);
    let side = Side { name, targets: vec![target], process, _servers: None };
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        ensure!(begun.elapsed() < PATIENCE, "it did not listen within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(side)
}
