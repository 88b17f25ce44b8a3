//! Whether a command is where it can do no harm, as the kernel shows it from outside.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::code::MAX_PROCESSES;

/// Looks at a process of a command.
///
/// # Errors
/// What it has that would let a fork bomb reach beyond its jail, or why that cannot be seen.
pub(super) fn prove(process: u32) -> Result<()> {
    let namespace = |process: &str| {
        fs::read_link(format!("/proc/{process}/ns/pid")).context("its pid namespace cannot be seen; be root")
    };
    ensure!(namespace(&process.to_string())? != namespace("self")?, "it has no pid namespace of its own");
    let user = rustix::process::getuid().as_raw();
    is_someone_else(&fs::read_to_string(format!("/proc/{process}/status"))?, user)?;
    is_limited(&fs::read_to_string(format!("/proc/{process}/limits"))?)
}

/// `RLIMIT_NPROC` counts the processes of a user.
fn is_someone_else(status: &str, user: u32) -> Result<()> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let ids: Vec<u32> =
        line.context("`status` has no `Uid`")?.split_whitespace().flat_map(str::parse).collect();
    ensure!(ids.len() == 4 && !ids.contains(&0) && !ids.contains(&user), "it runs as user {ids:?}");
    Ok(())
}

fn is_limited(limits: &str) -> Result<()> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max processes"));
    let mut numbers = line.context("`limits` has no `Max processes`")?.split_whitespace();
    let [soft, hard] = [(); 2].map(|()| numbers.next().and_then(|number| number.parse::<u32>().ok()));
    // One more than the jail's limit: process 1 counts.
    let is_low = |limit: Option<u32>| limit.is_some_and(|limit| limit <= MAX_PROCESSES + 1);
    ensure!(is_low(soft) && is_low(hard), "it may have {soft:?} processes, and raise that to {hard:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_not_in_a_jail() {
        assert!(prove(std::process::id()).is_err());
    }

    #[test]
    fn a_user_of_its_own_has_other_numbers() {
        is_someone_else("Name:\tsh\nUid:\t9\t9\t9\t9\n", 0).unwrap();
        for status in ["Uid:\t9\t9\t9\t0\n", "Uid:\t7\t7\t7\t7\n", "Uid:\tx\n", ""] {
            assert!(is_someone_else(status, 7).is_err(), "{status}");
        }
    }

    #[test]
    fn both_limits_have_to_be_low() {
        is_limited("Max processes             61                   61                   processes\n")
            .unwrap();
        for limits in ["Max processes 61 unlimited processes\n", "Max processes 62 61 processes\n", ""] {
            assert!(is_limited(limits).is_err(), "{limits}");
        }
    }
}
