//! What came of it, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::size::{Asked, Large, Many};
use super::trees::Amount;
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
    large: Option<Large>,
    many: Option<Many>,
    #[serde(skip)]
    missed: bool,
}

/// The middle of the times that ranking and packing take at a million lines is to be below this, in microseconds.
const MAX_INSIDE_US: f64 = 5_000.0;

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
    pub(super) fn new(rows: Vec<Row>, large: Option<Large>, many: Option<Many>, missed: bool) -> Self {
        Self { rows, large, many, missed }
    }

    /// Whether ours is better than each rival, by both measures, and quick enough. What was not measured is not held
    /// against it.
    pub(crate) fn is_good(&self) -> bool {
        let is_quick = self.large.as_ref().is_none_or(|large| large.words.inside_us.p50 < MAX_INSIDE_US);
        is_quick && (self.rows.is_empty() || self.finds_most())
    }

    fn finds_most(&self) -> bool {
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
        for (title, takes) in parts.into_iter().filter(|_| !self.rows.is_empty()) {
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
        self.large.as_ref().map_or(Ok(()), |large| write!(out, "\n{large}"))?;
        self.many.as_ref().map_or(Ok(()), |many| write!(out, "\n{many}"))
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn times(times: &Percentiles) -> String {
    let Percentiles { p50, p90, p99 } = times;
    format!("p50 {:>7.2} ms, p90 {:>7.2} ms, p99 {:>7.2} ms", p50 / 1e3, p90 / 1e3, p99 / 1e3)
}

/// A tree, how long it took to index it, and how large the database became.
fn indexed(out: &mut Formatter<'_>, amount: Amount, seconds: f64, database_bytes: u64) -> fmt::Result {
    let (mib_in, mib_out) = (mib(amount.bytes), mib(database_bytes));
    writeln!(out, "{} files, {} lines, {mib_in:.1} MiB", amount.files, amount.lines)?;
    writeln!(out, "  index from nothing    {seconds:.1} s ({:.1} MiB/s)", mib_in / seconds)?;
    writeln!(out, "  database              {mib_out:.1} MiB ({:.2} of the text)", mib_out / mib_in)
}

fn asked(out: &mut Formatter<'_>, who: &str, asked: &Asked) -> fmt::Result {
    writeln!(out, "  {who:<22}{}", times(&asked.inside_us))?;
    writeln!(out, "    look at the files   {}", times(&asked.look_us))?;
    writeln!(out, "    whole call, MCP     {}", times(&asked.call_us))
}

impl Display for Large {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        indexed(out, self.amount, self.index_seconds, self.database_bytes)?;
        writeln!(out, "  peak memory of host   {:.1} MiB", self.host_peak_kib as f64 / 1024.0)?;
        asked(out, "words, inside", &self.words)?;
        asked(out, "in quotes, inside", &self.quoted)?;
        match &self.rg_us {
            Some(rg) => {
                writeln!(out, "  rg for the same text  {}", times(rg))?;
                let ratio = self.quoted.inside_us.p50 / rg.p50;
                writeln!(out, "  in quotes / rg, p50   {ratio:.3}")
            }
            None => writeln!(out, "  rg is not installed"),
        }
    }
}

impl Display for Many {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        indexed(out, self.amount, self.index_seconds, self.database_bytes)?;
        writeln!(out, "  reindex, no change    {}", times(&self.unchanged_us))?;
        asked(out, "words, inside", &self.words)
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
