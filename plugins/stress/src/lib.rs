//! Misbehaves on request, for tests of the server, the host and its jail.
//!
//! Everything that a bad plugin could try is here: it crashes, hangs, floods, lies and attacks. It attacks when it
//! is loaded, too, from a static constructor. Every attack is harmless if it succeeds and aims at nothing but the
//! own process and its parent.
//!
//! All tools are marked as read-only, so that no client stops a test to ask for confirmation.
#![expect(unsafe_code, reason = "an attacker uses system calls, pointers and constructors")]

mod attack;
mod constructor;
mod context;
mod crash;
mod hang;
mod noise;
mod results;
mod server_memory;
mod sys;
#[cfg(test)]
mod tests;

use llmc_core::prelude::*;

use attack::StressAttack;
use constructor::StressConstructorReport;
use context::{Settings, StressContext, StressNested, StressSecret, StressState};
use crash::{StressAbort, StressExit, StressLongJump, StressOverflow, StressPanic, StressSegfault};
use hang::{StressLeak, StressSleep, StressSpin};
use noise::{StressLog, StressLogSpam, StressProgressSpam, StressStderrSpam};
use results::{StressBadJson, StressHuge, StressWrongOutput};
use server_memory::StressServerMemory;

export_plugin!("stress":
    StressPanic, StressAbort, StressSegfault, StressOverflow, StressLongJump, StressExit,
    StressLeak, StressSpin, StressSleep,
    StressBadJson, StressWrongOutput, StressHuge,
    StressLog, StressLogSpam, StressProgressSpam, StressStderrSpam,
    StressContext, StressNested, StressSecret, StressState,
    StressAttack, StressConstructorReport, StressServerMemory;
    grants = [
        tools: "calls the tool that a test names",
        secrets: "answers with the secret that a test names",
        state: "writes what a test says",
    ];
    config = Settings);
