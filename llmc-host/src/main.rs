//! `llmc-host`: jails itself, opens one plugin and serves its calls.
//!
//! Started by the server with an empty environment, a Unix socket as stdin and nothing else. The order is the
//! point: descriptors, environment, privileges and rights are gone *before* `dlopen`, because a library's static
//! constructors run inside it.
//!
//! - [`loader`]: open the library, check that it fits, read its manifest.
//! - [`crew`]: the threads: at least one waits for the socket, the others run calls.
//! - [`bridge`]: the one function that a plugin can call.
//!
//! Left out on purpose: policy. What the host is granted stands in the `INIT` message; what a plugin asks for
//! beyond that is decided by the server.

mod bridge;
mod crew;
mod loader;

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use llmc_sandbox::host::{HostLimits, HostPolicy, HostRoot};
use llmc_wire::Header;
use llmc_wire::frame::MAX_PAYLOAD_BYTES;
use llmc_wire::host::{Init, LoadFailed, Ready, from_host, to_host};
use llmc_wire::socket::{self, Receiver, Sender};

use crate::bridge::Bridge;
use crate::crew::Crew;
use crate::loader::Plugin;

fn main() -> ExitCode {
    let stream = match llmc_sandbox::descriptors::isolate_stdio() {
        Ok(stream) => stream,
        Err(error) => {
            eprintln!("llmc-host: {error}; `llmc plugin inspect LIBRARY` looks at a plugin in its jail");
            return ExitCode::from(2);
        }
    };
    let (sender, receiver) = socket::split(stream, MAX_PAYLOAD_BYTES);
    let Err(message) = run(&sender, receiver);
    let payload = serde_json::to_vec(&LoadFailed { message }).unwrap_or_default();
    let header = Header { kind: from_host::LOAD_FAILED, ..Header::default() };
    // The server also sees the exit code; there is nobody left to tell about a failed send.
    let _ = sender.send(header, &payload, &[]);
    ExitCode::FAILURE
}

/// Jails itself, loads the plugin and serves it until the server closes the socket; that ends the process.
fn run(sender: &Sender, mut receiver: Receiver) -> Result<Infallible, String> {
    let (init, library, roots) = receive_init(&mut receiver)?;
    name_process(&init.plugin);
    // To the jail the state folder is one more writable directory.
    let writable = init.roots.iter().map(|root| root.writable).chain(init.state.then_some(true));
    let policy = HostPolicy {
        roots: roots.into_iter().zip(writable).map(|(dir, writable)| HostRoot { dir, writable }).collect(),
        limits: HostLimits {
            memory_bytes: init.limits.memory_bytes,
            file_bytes: init.limits.file_bytes,
            open_files: init.limits.open_files,
        },
        server_pid: Some(init.server_pid),
        require_namespaces: init.require_namespaces,
    };
    let entered = llmc_sandbox::host::enter(policy, library.as_fd())
        .map_err(|error| format!("host of plugin `{}` could not enter its jail: {error}", init.plugin))?;

    let calls = init.limits.calls();
    let name = init.library.clone();
    let bridge = Bridge::install(init, entered.roots, entered.descriptors, sender.clone());
    let plugin = Plugin::load(&entered.plugin_path, &name)?;
    let ready = Ready {
        manifest: plugin.manifest(&name)?,
        report: serde_json::to_value(&entered.report).map_err(|error| error.to_string())?,
    };
    let payload = serde_json::to_vec(&ready).map_err(|error| error.to_string())?;
    let crew = Crew::new(plugin, bridge, receiver, calls)
        .map_err(|error| format!("host has no descriptor left to wait with: {error}"))?;
    sender
        .send(Header { kind: from_host::READY, ..Header::default() }, &payload, &[])
        .map_err(|error| format!("server is gone: {error}"))?;
    crew.serve()
}

/// Shows in `top` and `ps` which plugin this is: `llmc-host:fs`. The kernel keeps 15 bytes, see
/// `PR_SET_NAME` in `prctl(2)`.
fn name_process(plugin: &str) {
    if let Ok(name) = CString::new(format!("llmc-host:{plugin}")) {
        // The name is a courtesy.
        let _ = rustix::thread::set_name(&name);
    }
}

/// The first message: policy, sealed library, directories of the roots and the state.
fn receive_init(receiver: &mut Receiver) -> Result<(Init, OwnedFd, Vec<OwnedFd>), String> {
    let broken = |error: io::Error| format!("server sent no usable INIT message: {error}");
    let frame = receiver.receive().map_err(broken)?.ok_or("server is gone")?;
    if frame.header.kind != to_host::INIT {
        return Err(format!("server sent message kind {} instead of INIT", frame.header.kind));
    }
    let init: Init = serde_json::from_slice(frame.payload).map_err(|error| broken(error.into()))?;
    let mut fds = frame.fds;
    let directories = init.roots.len() + usize::from(init.state);
    if fds.len() != directories + 1 {
        return Err(format!("INIT came with {} descriptors for {directories} directories", fds.len()));
    }
    let roots = fds.split_off(1);
    let library = fds.pop().ok_or("INIT came without the library")?;
    Ok((init, library, roots))
}
