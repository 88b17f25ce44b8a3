//! What came of it, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::size::Size;
use crate::stats::Percentiles;

/// A question, whoever was asked, and the place of the first file that answers.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) who: &'static str,
    pub(super) tree: String,
    pub(super) question: String,
    pub(super) held_out: bool,
    pub(super) place: Option<usize>,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    rows: Vec<Row>,
    size: Option<Size>,
    #[serde(skip)]
    missed: bool,
}

/// Chooses rows.
type Takes = fn(&Row) -> bool;

/// Shares over some questions.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Score {
    questions: usize,
    /// Questions whose answer is among the first five files.
    recall_at_5: f64,
    /// Mean of one by the place of the answer.
    mrr: f64,
}

impl Score {
    fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let places: Vec<Option<usize>> = rows.into_iter().map(|row| row.place).collect();
        let share = |sum: f64| sum / places.len().max(1) as f64;
        let found = places.iter().filter(|place| place.is_some_and(|place| place <= 5)).count();
        let reciprocal = places.iter().flatten().map(|place| 1.0 / *place as f64).sum();
        Self { questions: places.len(), recall_at_5: share(found as f64), mrr: share(reciprocal) }
    }
}

impl Report {
    pub(super) fn new(rows: Vec<Row>, size: Option<Size>, missed: bool) -> Self {
        Self { rows, size, missed }
    }

    /// Whether ours is better than each rival, by both measures.
    pub(crate) fn is_good(&self) -> bool {
        let scores = self.scores(|_| true);
        let Some((_, ours)) = scores.iter().find(|(who, _)| who.starts_with("llmc")) else { return false };
        scores
            .iter()
            .filter(|(who, _)| !who.starts_with("llmc"))
            .all(|(_, rival)| ours.recall_at_5 > rival.recall_at_5 && ours.mrr > rival.mrr)
    }

    /// In the order in which they were asked.
    fn scores(&self, takes: impl Fn(&Row) -> bool) -> Vec<(&'static str, Score)> {
        let mut names: Vec<&'static str> = Vec::new();
        let mut rows: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in self.rows.iter().filter(|row| takes(row)) {
            if !names.contains(&row.who) {
                names.push(row.who);
            }
            rows.entry(row.who).or_default().push(row);
        }
        names.into_iter().map(|who| (who, Score::of(rows.remove(who).unwrap_or_default()))).collect()
    }
}

impl Display for Report {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let parts: [(&str, Takes); 4] = [
            ("all questions", |_| true),
            ("held out", |row| row.held_out),
            ("tokio", |row| row.tree == "tokio"),
            ("django", |row| row.tree == "django"),
        ];
        for (title, takes) in parts {
            let scores = self.scores(takes);
            let count = scores.first().map_or(0, |(_, score)| score.questions);
            writeln!(out, "{:<32}{:>10}{:>8}", format!("{title} ({count})"), "recall@5", "MRR")?;
            for (who, score) in scores {
                writeln!(out, "  {who:<30}{:>10.3}{:>8.3}", score.recall_at_5, score.mrr)?;
            }
        }
        for row in self.rows.iter().filter(|row| self.missed && row.who.starts_with("llmc")) {
            if row.place.is_none_or(|place| place > 1) {
                let place = row.place.map_or("none".to_owned(), |place| place.to_string());
                let part = if row.held_out { "held out" } else { "tuned" };
                writeln!(out, "  {place:>4}  {:<7}{part:<9}{}", row.tree, row.question)?;
            }
        }
        self.size.as_ref().map_or(Ok(()), |size| write!(out, "\n{size}"))
    }
}

impl Display for Size {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let (amount, speed) = (self.amount, mib(self.amount.bytes) / self.index_seconds);
        writeln!(out, "{} files, {} lines, {:.1} MiB", amount.files, amount.lines, mib(amount.bytes))?;
        writeln!(out, "  index from nothing    {:.1} s ({speed:.1} MiB/s)", self.index_seconds)?;
        writeln!(out, "  database              {:.1} MiB", mib(self.database_bytes))?;
        writeln!(out, "  peak memory of host   {:.1} MiB", self.host_peak_kib as f64 / 1024.0)?;
        writeln!(out, "  nothing has changed   {:.0} ms", self.unchanged_ms)?;
        let line = |times: &Percentiles| {
            format!(
                "p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms",
                times.p50 / 1e3,
                times.p90 / 1e3,
                times.p99 / 1e3
            )
        };
        writeln!(out, "  search_code over MCP  {}", line(&self.query_us))?;
        match &self.rg_us {
            Some(times) => writeln!(out, "  rg for the same text  {}", line(times)),
            None => writeln!(out, "  rg is not installed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_count_places() {
        let row = |place| Row { who: "x", tree: "t".into(), question: "q".into(), held_out: false, place };
        let rows = [row(Some(1)), row(Some(2)), row(Some(10)), row(None)];
        assert_eq!(Score::of(&rows), Score { questions: 4, recall_at_5: 0.5, mrr: (1.0 + 0.5 + 0.1) / 4.0 });
    }
}
