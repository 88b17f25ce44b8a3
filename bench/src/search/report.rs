//! What came of it, as text and as JSON.

use std::collections::BTreeMap;

use llmc_proof::{Chart, Claim, Part, Table};
use serde::Serialize;

use super::size::{Asked, Large, Many};
use super::trees::Amount;
use crate::part::{bars, met, row, table};
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

    /// Ours is to be better than each rival, by both measures.
    fn rivals(&self) -> Vec<Claim> {
        let scores = self.scores(|_| true);
        let Some((_, ours)) = scores.iter().find(|(who, _)| is_ours(who)) else { return Vec::new() };
        let beside = |(who, rival): &(&str, Score)| Claim {
            what: format!("`search_code` finds more than {who}"),
            expected: format!("recall@5 above {:.3} and MRR above {:.3}", rival.recall_at_5, rival.mrr),
            seen: format!("{:.3} and {:.3}", ours.recall_at_5, ours.mrr),
            held: ours.recall_at_5 > rival.recall_at_5 && ours.mrr > rival.mrr,
        };
        scores.iter().filter(|(who, _)| !is_ours(who)).map(beside).collect()
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

impl crate::part::Report for Report {
    fn part(&self) -> Part {
        let mut claims = self.rivals();
        claims.extend(self.large.as_ref().map(Large::claim));
        let mut tables = Vec::new();
        if !self.rows.is_empty() {
            let kinds: [(&str, Takes); 4] = [
                ("all questions", |_| true),
                ("held out", |row| row.held_out),
                ("tokio", |row| row.tree == "tokio"),
                ("django", |row| row.tree == "django"),
            ];
            tables.extend(kinds.map(|(title, takes)| self.score_table(title, takes)));
        }
        if self.missed {
            tables.push(self.missed_table());
        }
        tables.extend(self.large.as_ref().map(Large::table));
        tables.extend(self.many.as_ref().map(Many::table));
        let mut left_out = Vec::new();
        let mut note = |is_left_out: bool, why: &str| {
            if is_left_out {
                left_out.push(why.to_owned());
            }
        };
        note(self.rows.is_empty(), "the questions: `--no-questions`");
        note(self.large.is_none(), "the tree of many lines: `--lines 0`");
        note(self.many.is_none(), "the tree of many files: `--files 0`");
        note(!self.rows.is_empty() && !self.has("rg"), "`rg`: it is not installed");
        note(!self.rows.is_empty() && !self.has("tantivy"), "tantivy: built only with its feature");
        Part {
            name: "bench-search".into(),
            title: "Code search".into(),
            summary: format!("What `search_code` finds, beside who else is asked: {}.", met(&claims)),
            claims,
            tables,
            charts: self.score_chart().into_iter().collect(),
            left_out,
            ..Part::default()
        }
    }
}

fn is_ours(who: &str) -> bool {
    who.starts_with("llmc")
}

impl Report {
    fn has(&self, who: &str) -> bool {
        self.rows.iter().any(|row| row.who.starts_with(who))
    }

    fn score_table(&self, title: &str, takes: Takes) -> Table {
        let scores = self.scores(takes);
        let count = scores.first().map_or(0, |(_, score)| score.questions);
        let rows = scores
            .iter()
            .map(|(who, score)| row(*who, [score.recall_at_5, score.mrr].map(|share| format!("{share:.3}"))));
        table(&format!("{title} ({count})"), &["", "recall@5", "MRR"], rows.collect())
    }

    fn score_chart(&self) -> Option<Chart> {
        let scores = self.scores(|_| true);
        let of = |share: fn(&Score) -> f64| scores.iter().map(|(_, score)| share(score)).collect();
        let series = vec![("recall@5", of(|score| score.recall_at_5)), ("MRR", of(|score| score.mrr))];
        let places = scores.iter().map(|(who, _)| (*who).to_owned()).collect();
        (!scores.is_empty()).then(|| bars("All questions", "share", places, series))
    }

    /// Questions whose answer was not the first file.
    fn missed_table(&self) -> Table {
        let missed =
            self.rows.iter().filter(|row| is_ours(row.who) && row.place.is_none_or(|place| place > 1));
        let rows = missed.map(|missed| {
            let place = missed.place.map_or("none".to_owned(), |place| place.to_string());
            let part = if missed.held_out { "held out" } else { "tuned" };
            row(missed.question.clone(), [missed.tree.clone(), part.to_owned(), place])
        });
        table("answers that were not the first file", &["", "tree", "part", "place"], rows.collect())
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

const TIMES: [&str; 4] = ["", "p50 ms", "p90 ms", "p99 ms"];

fn times(what: &str, times: &Percentiles) -> Vec<String> {
    row(what, [times.p50, times.p90, times.p99].map(|us| format!("{:.2}", us / 1e3)))
}

/// A tree, how long it took to index it, and how large the database became.
fn indexed(amount: Amount, seconds: f64, database_bytes: u64) -> String {
    let (mib_in, mib_out) = (mib(amount.bytes), mib(database_bytes));
    format!(
        "{} files, {} lines, {mib_in:.1} MiB; indexed from nothing in {seconds:.1} s ({:.1} MiB/s); database \
         {mib_out:.1} MiB ({:.2} of the text).",
        amount.files,
        amount.lines,
        mib_in / seconds,
        mib_out / mib_in
    )
}

fn asked(who: &str, asked: &Asked) -> [Vec<String>; 3] {
    [
        times(&format!("{who}, inside"), &asked.inside_us),
        times(&format!("{who}, look at the files"), &asked.look_us),
        times(&format!("{who}, whole call over MCP"), &asked.call_us),
    ]
}

impl Large {
    fn claim(&self) -> Claim {
        let p50 = self.words.inside_us.p50;
        Claim {
            what: format!("p50 of words, inside, at {} lines", self.amount.lines),
            expected: format!("below {} ms", MAX_INSIDE_US / 1e3),
            seen: format!("{:.2} ms", p50 / 1e3),
            held: p50 < MAX_INSIDE_US,
        }
    }

    fn table(&self) -> Table {
        let mut rows: Vec<Vec<String>> = asked("words", &self.words).into();
        rows.extend(asked("in quotes", &self.quoted));
        let rg = match &self.rg_us {
            Some(rg) => {
                rows.push(times("rg for the same text", rg));
                format!("In quotes, inside, beside rg, p50: {:.3}.", self.quoted.inside_us.p50 / rg.p50)
            }
            None => "rg is not installed.".to_owned(),
        };
        let peak = self.host_peak_kib as f64 / 1024.0;
        let about = indexed(self.amount, self.index_seconds, self.database_bytes);
        let note = format!("{about} Peak memory of the host {peak:.1} MiB. {rg}");
        Table { note, ..table("a tree of many lines", &TIMES, rows) }
    }
}

impl Many {
    fn table(&self) -> Table {
        let mut rows = vec![times("reindex, no change", &self.unchanged_us)];
        rows.extend(asked("words", &self.words));
        let note = indexed(self.amount, self.index_seconds, self.database_bytes);
        Table { note, ..table("a tree of many files", &TIMES, rows) }
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
