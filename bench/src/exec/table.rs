//! The report as text: targets first, the numbers behind them below.

use std::fmt::{self, Display, Formatter};

use super::pool::{Pool, Sum};
use super::rates::CHECKED;
use super::report::Report;
use crate::report::Machine;
use crate::stats::Spread;
use crate::table::numbers;

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "execute_code of llmc beside a bare {}", self.engine)?;
        let Machine { cpus, latency_cpu } = self.machine;
        writeln!(
            out,
            "{cpus} CPUs; starts and call-backs on CPU {latency_cpu} alone, everything else on all of them\n"
        )?;
        for target in &self.targets {
            writeln!(out, "{target}")?;
        }
        for what in &self.left_out {
            writeln!(out, "  {what}")?;
        }
        self.starts(out)?;
        self.rates(out)?;
        let [[p50, p99], [free_p50, free_p99]] = self.callback_us;
        writeln!(out, "\na call-back, timed by the code (us)              p50      p99")?;
        writeln!(out, "  {:<38}{p50:>9.1}{p99:>9.1}", "on one CPU")?;
        writeln!(out, "  {:<38}{free_p50:>9.1}{free_p99:>9.1}", "on all of them")?;
        match &self.pool {
            Ok(pool) => write!(out, "\n{pool}")?,
            Err(why) => writeln!(out, "\nmemory: {why}")?,
        }
        if !self.storms.is_empty() {
            writeln!(out, "\nfrom cancelled to gone (ms)                  best   median    worst")?;
        }
        for storm in &self.storms {
            row(out, &format!("{}, {:.0} processes", storm.name, storm.processes), &storm.gone_ms, 1)?;
        }
        writeln!(out, "\nCPU time that others took (in brackets: rounds that do not count)")?;
        writeln!(out, "  on one CPU  {}", self.pinned_rounds)?;
        writeln!(out, "  on all      {}", self.free_rounds)
    }
}

impl Report {
    fn starts(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\np50 of `print(1)`, 1 in flight (ms)          best   median    worst    ratio")?;
        for start in &self.starts {
            for (side, times) in [("llmc", &start.p50_ms.llmc), ("bare python3", &start.p50_ms.baseline)] {
                write!(out, "  {:<38}{}", format!("{}, {side}", start.name), numbers(times, 2))?;
                match side {
                    "llmc" => writeln!(out, "{:>9.2}", start.ratio)?,
                    _ => writeln!(out)?,
                }
            }
        }
        Ok(())
    }

    fn rates(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "\nruns per second                              best   median    worst  CPU ms each")?;
        for rate in &self.rates {
            let name = format!("{} in flight", rate.in_flight);
            writeln!(out, "  {name:<38}{}{:>13.2}", numbers(&rate.per_second, 0), rate.cpu_ms)?;
        }
        writeln!(out, "  every run had its own output, {CHECKED} looked at before the rounds and all in them")
    }
}

impl Display for Pool {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        writeln!(out, "memory of an idle pool (KiB)            processes      PSS  private")?;
        let parked = format!("{} interpreters that wait", self.jails);
        for (name, sum) in [
            ("the runner", self.runner),
            ("what they are forked from", self.zygote),
            (parked.as_str(), self.parked),
            ("all", self.all()),
        ] {
            let Sum { processes, pss_kib, private_dirty_kib } = sum;
            writeln!(out, "  {name:<38}{processes:>9}{pss_kib:>9}{private_dirty_kib:>9}")?;
        }
        let each = |kib: u64| kib / (self.jails as u64).max(1);
        let (pss, private) = (each(self.parked.pss_kib), each(self.parked.private_dirty_kib));
        writeln!(out, "  {:<38}{:>9}{pss:>9}{private:>9}", "each that waits", 2)
    }
}

fn row(out: &mut Formatter<'_>, what: &str, times: &Spread, digits: usize) -> fmt::Result {
    writeln!(out, "  {what:<38}{}", numbers(times, digits))
}
