//! Plays the runner for tests: a real process, without the jail.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use llmc_core::run::{RunSignal, RunStatus};
use llmc_core::testing::ProgramIo;
use rustix::process::{Pid, Signal, kill_process_group};

/// Runs `command` with the standard streams of `io`. When the plugin ends the run, the process and what it started
/// are ended: by process group, so only well-behaved ones are. Other signals go to that group, too.
///
/// # Panics
/// If the process cannot be started or ended.
pub fn play(command: &mut Command, mut io: ProgramIo) -> RunStatus {
    let share = "a pipe can be shared";
    if let Some(pipe) = io.stdin.take() {
        command.stdin(pipe);
    }
    let child = command
        .stdout(io.stdout.try_clone().expect(share))
        .stderr(io.stderr.try_clone().expect(share))
        .process_group(0)
        .spawn()
        .expect("the program can be started");
    // The command keeps its own copies open, which would hide from the writer that nobody reads any more.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    drop(io.job.take());
    status(wait(child, &io))
}

fn wait(mut child: Child, io: &ProgramIo) -> ExitStatus {
    loop {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            return status;
        }
        for signal in io.signals() {
            let signal = if signal == RunSignal::Int { Signal::INT } else { Signal::TERM };
            kill_process_group(Pid::from_child(&child), signal).expect("the group has not been waited for");
        }
        if io.killed() {
            kill_process_group(Pid::from_child(&child), Signal::KILL)
                .expect("the group has not been waited for");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn status(status: ExitStatus) -> RunStatus {
    match (status.code(), status.signal()) {
        (Some(code), _) => RunStatus::Exited(code),
        (None, signal) => RunStatus::Signalled(signal.unwrap_or_default()),
    }
}
