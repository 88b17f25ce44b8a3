//! Interpreters that are a part of this program: functions, called in a forked copy of it after the last wall is up.

use llmc_engines::{Ending, Limits, Prepared, Spent, Streams};
use llmc_sandbox::jail::{CPU_USED_UP, Inside, JailLimits, MEMORY_USED_UP, Ready, TIME_USED_UP};
use llmc_sandbox::profile::ENGINE;

/// JavaScript.
pub(crate) fn quickjs() -> Ready {
    ready(llmc_engines::quickjs::prepare)
}

/// A subset of Python.
pub(crate) fn monty() -> Ready {
    ready(llmc_engines::monty::prepare)
}

/// What a request may use of an interpreter that has no processes, files and scratch space.
pub(crate) fn limits(asked: JailLimits) -> JailLimits {
    JailLimits {
        wall_ms: asked.wall_ms,
        cpu_ms: asked.cpu_ms,
        memory_bytes: asked.memory_bytes,
        ..ENGINE.limits
    }
}

fn ready(prepare: fn() -> Prepared) -> Ready {
    // An interpreter that panics reports an error; the usual text would show code paths of the build machine.
    std::panic::set_hook(Box::new(|_| {}));
    let engine = prepare();
    Box::new(|inside| run(engine, inside))
}

fn run(engine: Prepared, inside: Inside) -> u8 {
    let Some(job) = inside.job else { return 2 };
    let JailLimits { wall_ms, cpu_ms, memory_bytes, .. } = inside.limits;
    // What a cold one took to get ready; its jail counts that. It had one processor, so it used no more of it than that.
    let used_ms = u64::try_from(inside.since.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (wall_ms, cpu_ms) = (wall_ms.saturating_sub(used_ms), cpu_ms.saturating_sub(used_ms));
    let streams = Streams {
        job,
        stdin: Box::new(std::io::stdin()),
        stdout: Box::new(std::io::stdout()),
        stderr: Box::new(std::io::stderr()),
    };
    match engine(streams, Limits { wall_ms, cpu_ms, memory_bytes }) {
        Ending::Done => 0,
        Ending::Failed => 1,
        Ending::Broken => 2,
        Ending::Limit(Spent::Wall) => TIME_USED_UP,
        Ending::Limit(Spent::Cpu) => CPU_USED_UP,
        Ending::Limit(Spent::Memory) => MEMORY_USED_UP,
    }
}
