//! `llmc dev`: build a plugin, load it in its jail, call it; again after every change.

mod calls;
mod project;
mod session;

use std::io::{self, BufRead as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;

use self::project::{Project, Stamp};
use self::session::Session;
use super::output::Paint;
use super::{address, chain, note, print};
use crate::config::Flags;
use crate::http;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Build a plugin, load it in its jail and show every call and refusal; again after every change.
///
/// Lines on stdin are calls: `TOOL {"argument": 1}`. Without a configuration that has the plugin, it is granted the
/// directories of --root and nothing else.
#[derive(Args)]
pub(super) struct Dev {
    /// Folder of the plugin's crate.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Call a tool whenever the plugin was loaded: `TOOL {"argument": 1}`; repeatable.
    #[arg(long = "call", value_name = "CALL")]
    calls: Vec<String>,
    /// Serve MCP clients of this machine over HTTP, without a token, such as at 127.0.0.1:8765.
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    http: Option<SocketAddr>,
    /// Build with --release.
    #[arg(long)]
    release: bool,
    /// Build, load and call once; exit code 1 if something failed, 5 if a call did.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    flags: Flags,
}

impl Dev {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let project = Project::find(&self.path, self.release)?;
        let told = http::told_to_end()?;
        tokio::pin!(told);
        let mut lines = lines_of_stdin(!self.once);
        let mut running = None;
        loop {
            // Looked at before the build, so that a change during the build is seen after it.
            let seen = project.stamp();
            let failed = tokio::select! {
                () = &mut told => return Ok(ExitCode::SUCCESS),
                failed = self.load(&project, &mut running) => failed,
            };
            if self.once {
                return failed.map(|failed| {
                    if failed { ExitCode::from(super::call::TOOL_ERROR) } else { ExitCode::SUCCESS }
                });
            }
            match failed {
                Ok(_) => note("waiting for calls on stdin and for changes; end it with Ctrl-C"),
                Err(error) if running.is_some() => {
                    note(&format!("{}; the last good one goes on", chain(&error)))
                }
                Err(error) => note(&format!("{}; waiting for a change", chain(&error))),
            }
            loop {
                tokio::select! {
                    () = &mut told => return Ok(ExitCode::SUCCESS),
                    Some(line) = lines.recv() => tokio::select! {
                        () = &mut told => return Ok(ExitCode::SUCCESS),
                        called = self.call(running.as_mut(), &line) => called?,
                    },
                    () = changed(&project, seen, running.as_mut()) => break,
                }
            }
        }
    }

    /// Builds and loads, and makes the calls that are wanted; tells whether one of them failed.
    async fn load(&self, project: &Project, running: &mut Option<Session>) -> anyhow::Result<bool> {
        note(&format!("building {}", project.folder.display()));
        let library = project.build().await?;
        let session = match running {
            Some(session) => {
                session.take_up(&library, &self.flags).await?;
                session
            }
            None => running.insert(Session::start(&library, &self.flags, self.http).await?),
        };
        print(&session.described())?;
        let mut failed = false;
        for call in &self.calls {
            failed |= !session.call(call).await?;
        }
        Ok(failed)
    }

    async fn call(&self, running: Option<&mut Session>, line: &str) -> anyhow::Result<()> {
        match running {
            _ if line.trim().is_empty() => {}
            Some(session) => {
                session.call(line).await?;
            }
            None => note("nothing is loaded yet"),
        }
        Ok(())
    }
}

/// Completes when files of the crate differ from what was seen; shows calls in the meantime.
async fn changed(project: &Project, seen: Stamp, mut running: Option<&mut Session>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if let Some(session) = &mut running {
            for line in session.calls_ended(Paint::for_stdout()) {
                // A reader that left ends nothing; Ctrl-C does.
                let _ = print(&format!("{line}\n"));
            }
        }
        if project.stamp() != seen {
            return;
        }
    }
}

/// Lines that a person types; none once stdin ends.
fn lines_of_stdin(wanted: bool) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    if wanted {
        // A thread of its own: a read of a terminal cannot be cancelled.
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(Result::ok) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
    }
    lines
}
