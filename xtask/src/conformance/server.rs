//! The staged server over HTTP, with the fixtures.

use std::fs;
use std::io::{self, BufRead, BufReader, Lines};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::stage::Stage;

/// What the server says before its address.
const ADDRESS_MARK: &str = "serving MCP at ";

/// What a tool of the fixtures logs when the list of tools is to change.
const CHANGE_MARK: &str = "the list of tools is to change";

/// The tool that comes and goes then; no scenario of the revision that has changes calls it.
const CHANGING_TOOL: &str = "test_reconnection";

/// A running server; ended when dropped.
pub(super) struct Server {
    child: Child,
    url: String,
}

/// Its configuration.
struct Configuration {
    file: PathBuf,
    library: PathBuf,
    address: SocketAddr,
}

impl Server {
    /// Starts one on a free port of loopback.
    pub(super) fn start(stage: &Stage, folder: &Path) -> Result<Self> {
        // Known beforehand, because the suite wants to be let in as a page of this very address.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let library = stage.tests.join("plugins/libfixtures.so");
        let configuration = Configuration { file: folder.join("llmc.toml"), library, address };
        configuration.write(false)?;
        let mut llmc = Command::new(stage.dir.join("bin/llmc"));
        llmc.args(["serve", "--no-stdio", "--log", "warn", "--config"]).arg(&configuration.file).env_clear();
        let mut child = llmc.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().context("the server has no stderr")?;
        let mut lines = BufReader::new(stderr).lines();
        let mut server = Self { child, url: String::new() };
        let mut said = Vec::new();
        for line in lines.by_ref() {
            let line = line?;
            if let Some((_, url)) = line.split_once(ADDRESS_MARK) {
                server.url = url.trim().to_owned();
                break;
            }
            said.push(line);
        }
        if server.url.is_empty() {
            bail!("the server did not start: {}", said.join("; "));
        }
        let process = server.child.id();
        std::thread::spawn(move || attend(lines, &configuration, process));
        Ok(server)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Configuration {
    fn write(&self, changed: bool) -> io::Result<()> {
        let Self { file, library, address } = self;
        let deny = if changed { format!("{CHANGING_TOOL:?}") } else { String::new() };
        let text = format!(
            "[server]\nwatch = false\nhttp = {{ listen = \"{address}\", auth = \"none\", origins = \
             [\"http://{address}\"], requests_per_minute = 100000 }}\n[limits]\ntask_after_ms = 150\n\
             [policy]\ndeny = [{deny}]\n[plugins.fixtures]\nlibrary = {:?}\n",
            library.display().to_string()
        );
        fs::write(file, text)
    }
}

/// Shows what the server says, and changes its list of tools when it says so.
fn attend(lines: Lines<BufReader<ChildStderr>>, configuration: &Configuration, process: u32) {
    let mut changed = false;
    for line in lines.map_while(Result::ok) {
        if line.contains(CHANGE_MARK) {
            changed = !changed;
            if let Err(error) = change(configuration, changed, process) {
                eprintln!("the list of tools could not be changed: {error:#}");
            }
        } else {
            eprintln!("{line}");
        }
    }
}

fn change(configuration: &Configuration, changed: bool, process: u32) -> Result<()> {
    configuration.write(changed)?;
    crate::workspace::check(Command::new("kill").args(["-HUP", &process.to_string()]))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
