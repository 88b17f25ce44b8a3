//! All processes of this plugin, by handle.
//!
//! A handle is 128 bits from the kernel's random source, and is good for its caller only. A handle that was never given
//! out, one whose process was forgotten, and one of another caller get the very same answer.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use llmc_core::code;
use llmc_core::prelude::*;
use rustix::rand::{GetRandomFlags, getrandom};

use super::session::Process;
use super::settings::Settings;
use crate::limits::{KEEP_ENDED_MS, MAX_ENDED};

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Table {
    processes: HashMap<String, Arc<Process>>,
    /// Callers whose processes are being started.
    starting: Vec<String>,
}

/// A place among the processes that may run, for one that is being started.
#[derive(Debug)]
pub(crate) struct Place {
    owner: String,
    handle: String,
    settings: Settings,
}

impl Place {
    /// Takes a place for a process of this call's caller.
    pub(crate) fn reserve(ctx: &Context) -> ToolResult<Self> {
        let (owner, settings) = (ctx.caller()?, ctx.config::<Settings>()?);
        let handle = random_handle()?;
        let mut table = table();
        table.forget_old(&owner);
        let mine = table.running_of(|caller| caller == owner);
        let limit = |most: u32, whose: &str, key: &str| {
            ToolError::new(
                code::LIMIT,
                format!("{most} processes run{whose} already (`{key}`); stop one with `stop_process` first"),
            )
        };
        if mine >= settings.processes_per_caller as usize {
            return Err(limit(settings.processes_per_caller, " for you", "processes_per_caller"));
        }
        if table.running_of(|_| true) >= settings.processes as usize {
            return Err(limit(settings.processes, "", "processes"));
        }
        table.starting.push(owner.clone());
        Ok(Self { owner, handle, settings })
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    pub(super) fn handle(&self) -> &str {
        &self.handle
    }

    /// Gives the place to a process that has started.
    pub(super) fn take(self, process: &Arc<Process>) {
        table().processes.insert(self.handle.clone(), Arc::clone(process));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = table();
        if let Some(at) = table.starting.iter().position(|owner| *owner == self.owner) {
            table.starting.swap_remove(at);
        }
    }
}

impl Table {
    fn running_of(&self, is_counted: impl Fn(&str) -> bool) -> usize {
        let running = self.processes.values().filter(|process| process.over_for().is_none());
        let running = running.filter(|process| is_counted(&process.owner)).count();
        running + self.starting.iter().filter(|owner| is_counted(owner)).count()
    }

    /// Drops processes that ended long ago, and the oldest of a caller with many that have ended.
    fn forget_old(&mut self, owner: &str) {
        let keep = Duration::from_millis(KEEP_ENDED_MS);
        self.processes.retain(|_, process| process.over_for().is_none_or(|over| over < keep));
        let mine = self.processes.values().filter(|process| process.owner == owner);
        let mut ended: Vec<_> =
            mine.filter_map(|process| Some((process.over_for()?, process.handle.clone()))).collect();
        ended.sort_unstable();
        for (_, handle) in ended.into_iter().skip(MAX_ENDED) {
            self.processes.remove(&handle);
        }
    }
}

/// The process behind a handle, if it is one of this call's caller.
pub(crate) fn find(ctx: &Context, handle: &str) -> ToolResult<Arc<Process>> {
    let owner = ctx.caller()?;
    let mut table = table();
    table.forget_old(&owner);
    let found = table.processes.get(handle).filter(|process| process.owner == owner);
    found.cloned().ok_or_else(|| {
        ToolError::invalid(
            "you have no such process: it was never yours, or ended long ago; `list_processes` shows those you have",
        )
    })
}

/// All processes of this call's caller, the oldest first.
pub(crate) fn all_of(ctx: &Context) -> ToolResult<Vec<Arc<Process>>> {
    let owner = ctx.caller()?;
    let mut table = table();
    table.forget_old(&owner);
    let mut own: Vec<_> =
        table.processes.values().filter(|process| process.owner == owner).map(Arc::clone).collect();
    own.sort_by_key(|process| process.started);
    Ok(own)
}

fn random_handle() -> ToolResult<String> {
    let mut bytes = [0; 16];
    let count = getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|error| ToolError::failed(format!("failed to get random bytes: {error}")))?;
    if count != bytes.len() {
        return Err(ToolError::failed("the kernel gave too few random bytes"));
    }
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_random_and_have_one_form() {
        let handles: Vec<_> = (0..100).map(|_| random_handle().unwrap()).collect();
        for (place, handle) in handles.iter().enumerate() {
            assert!(handle.len() == 32 && handle.bytes().all(|byte| byte.is_ascii_hexdigit()), "{handle}");
            assert!(!handles[..place].contains(handle));
        }
    }
}
