//! The staged server over HTTP, with the fixtures.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::stage::Stage;

/// What the server says before its address.
const ADDRESS_MARK: &str = "serving MCP at ";

/// A running server; ended when dropped.
pub(super) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Starts one on a free port of loopback.
    pub(super) fn start(stage: &Stage, folder: &Path) -> Result<Self> {
        let library = stage.tests.join("plugins/libfixtures.so");
        let config = folder.join("llmc.toml");
        // Known beforehand, because the suite wants to be let in as a page of this very address.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let text = format!(
            "[server]\nhttp = {{ listen = \"{address}\", auth = \"none\", origins = [\"http://{address}\"], \
             requests_per_minute = 100000 }}\n[plugins.fixtures]\nlibrary = {:?}\n",
            library.display().to_string()
        );
        fs::write(&config, text)?;
        let mut llmc = Command::new(stage.dir.join("bin/llmc"));
        llmc.args(["serve", "--no-stdio", "--log", "warn", "--config"]).arg(&config).env_clear();
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
        // What it says from now on is shown as it comes; nobody else would read its pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        Ok(server)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
