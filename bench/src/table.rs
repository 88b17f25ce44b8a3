//! The report as text: ratios first, the numbers behind them below.

use std::fmt::{self, Display, Formatter};

use crate::memory::Memory;
use crate::report::{Breakdown, Chosen, Machine, Memories, Report, Target};
use crate::rounds::IN_FLIGHT;
use crate::servers::TOOLS;
use crate::stats::{Pair, Spread};

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "llmc beside a plain in-process server on the same SDK, driven by the same client")?;
        let Machine { cpus, latency_cpu } = self.machine;
        writeln!(out, "{cpus} CPUs; latencies on CPU {latency_cpu} alone, everything else on all of them\n")?;
        for target in &self.targets {
            writeln!(out, "{target}")?;
        }

        writeln!(
            out,
            "\nlatency, 1 in flight (us)                p50 best   median    worst      p90      p99"
        )?;
        for (name, pair) in TOOLS.iter().zip(&self.latency_us) {
            for (side, summary) in sides(pair) {
                let (p50, p90, p99) = (numbers(&summary.p50, 1), summary.p90, summary.p99);
                writeln!(out, "  {:<38}{p50}{p90:>9.1}{p99:>9.1}", format!("{name}, {side}"))?;
            }
        }
        writeln!(out, "\nthroughput, {IN_FLIGHT} in flight (calls/s)              best   median    worst")?;
        for (name, pair) in TOOLS.iter().zip(&self.calls_per_second) {
            for (side, rates) in sides(pair) {
                writeln!(out, "  {:<38}{}", format!("{name}, {side}"), numbers(rates, 0))?;
            }
        }
        writeln!(out, "\nfrom the start of the process (ms)           best   median    worst")?;
        for (what, times) in
            [("`tools/list`", &self.start_ms.listed), ("the first call", &self.start_ms.called)]
        {
            for (side, times) in sides(times) {
                writeln!(out, "  {:<38}{}", format!("{what} answered, {side}"), numbers(times, 1))?;
            }
        }
        match &self.memory {
            Ok(memory) => write!(out, "\n{memory}")?,
            Err(why) => writeln!(out, "\nmemory: {why}")?,
        }
        write!(out, "\n{}", self.hello_us)?;
        writeln!(out, "\nCPU time that others took (in brackets: rounds that do not count)")?;
        writeln!(out, "  latency     {}", self.latency_rounds)?;
        writeln!(out, "  throughput  {}", self.throughput_rounds)
    }
}

impl Display for Target {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Self { what, value, unit, limit, context, .. } = self;
        let value = format!("{value:.2}{unit}");
        let limit = format!("{} {limit}{unit}", if self.at_least { ">=" } else { "<=" });
        let verdict = if self.met { "met" } else { "MISSED" };
        write!(out, "  {what:<22}{value:>9}   {limit:<11} {verdict:<7} {context}")
    }
}

impl Display for Memories {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "memory (KiB)                          after start: PSS  private   after load: PSS  private"
        )?;
        let pairs = sides(&self.after_start).into_iter().zip(sides(&self.after_load));
        for ((_, before), (_, after)) in pairs {
            for (before, after) in before.iter().zip(after) {
                let [before_pss, before_private] = kib(before);
                let [after_pss, after_private] = kib(after);
                let program = &before.program;
                writeln!(
                    out,
                    "  {program:<38}{before_pss:>14}{before_private:>9}{after_pss:>18}{after_private:>9}"
                )?;
            }
        }
        Ok(())
    }
}

fn kib(memory: &Memory) -> [u64; 2] {
    [memory.pss_kib, memory.private_dirty_kib]
}

impl Display for Breakdown {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "where each microsecond of a `hello` call goes (us)")?;
        for (number, what) in [
            (self.pipes, "two processes and two pipes: the floor of any stdio server"),
            (self.sdk, "SDK and runtime; up to here it is a call of the baseline"),
            (self.socket, "two processes and a socket: the floor of the hop to the host"),
            (self.request_json, "arguments checked and written"),
            (self.plugin_json, "arguments read and result written, in the plugin"),
            (self.result_json, "result read and checked"),
            (self.rest, "the rest: hand-overs between threads and tasks, the call path"),
            (self.total, "a call of llmc"),
        ] {
            writeln!(out, "  {number:>7.2}  {what}")?;
        }
        let Pair { llmc: cpu, baseline: baseline_cpu } = self.cpu_us;
        let Pair { llmc: switches, baseline: baseline_switches } = self.switches;
        writeln!(out, "  CPU time of all its processes per call: {cpu:.1} us (baseline {baseline_cpu:.1})")?;
        writeln!(out, "  thread switches per call: {switches:.1} (baseline {baseline_switches:.1})")
    }
}

impl<T> Display for Chosen<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for (share, counts) in self.foreign_shares.iter().zip(&self.counts) {
            let percent = format!("{:.0}%", share * 100.0);
            let percent = if *counts { percent } else { format!("[{percent}]") };
            write!(out, "{percent:>6}")?;
        }
        Ok(())
    }
}

fn sides<T>(pair: &Pair<T>) -> [(&'static str, &T); 2] {
    [("llmc", &pair.llmc), ("baseline", &pair.baseline)]
}

pub(crate) fn numbers(spread: &Spread, digits: usize) -> String {
    [spread.best, spread.median, spread.worst].map(|number| format!("{number:>9.digits$}")).concat()
}
