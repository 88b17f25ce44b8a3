//! `llmc audit`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::{Output, Paint};
use super::{note, print};
use crate::audit::chain::Checkpoint;
use crate::audit::key::public;
use crate::audit::now_ms;
use crate::audit::query::{Filter, Reader, Row};
use crate::audit::verify::Trust;
use crate::config::{self, AuditFormat, ConfigError, Flags};
use crate::files;

/// How often `tail -f` looks for more.
const FOLLOW: Duration = Duration::from_millis(200);

/// Rows that are read at once by commands that go through all of them.
const PAGE: usize = 10_000;

/// Larger files are no checkpoints.
const MAX_CHECKPOINT_BYTES: u64 = 64 << 20;

/// Read and check the audit.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show the newest records.
    Tail(Tail),
    /// Show the records that fit, oldest first.
    Query(Query),
    /// Count records by tool, caller and outcome.
    Stats(Stats),
    /// Print records for other programs, or the checkpoints alone.
    Export(Export),
    /// Check that no record was changed, dropped, moved or cut off; exit code 1 if one was.
    Verify(Verify),
}

/// Which audit.
#[derive(Args)]
pub(super) struct Place {
    /// File of the audit; default: the one of the configuration.
    #[arg(long, value_name = "FILE")]
    path: Option<PathBuf>,
    /// Configuration file; default: `llmc/config.toml` in `$XDG_CONFIG_HOME` or `~/.config`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Which records.
#[derive(Args)]
pub(super) struct Wanted {
    /// Calls of this tool.
    #[arg(long, value_name = "NAME")]
    tool: Option<String>,
    /// Calls of this caller: `client`, `token NAME`, `http`, `command line` or `plugin NAME`.
    #[arg(long, value_name = "WHO")]
    caller: Option<String>,
    /// What concerns this plugin.
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// With this outcome, such as `ok`, `denied` or `timed_out`.
    #[arg(long, value_name = "WORD")]
    outcome: Option<String>,
    /// Of this kind: `call`, `start`, `configuration`, `token`, `rejected`, `plugin`, `secret`, `run`.
    #[arg(long, value_name = "KIND")]
    event: Option<String>,
    /// What was refused or failed.
    #[arg(long)]
    refused: bool,
    /// With this text anywhere in the record.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Not before: a time such as 2026-01-31T12:00:00Z, or how long ago, such as 30m, 12h or 7d.
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,
    /// Not after.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,
}

#[derive(Args)]
pub(super) struct Tail {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 20, value_name = "COUNT")]
    lines: usize,
    /// Go on with those that come.
    #[arg(short, long)]
    follow: bool,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub(super) struct Query {
    /// The newest so many.
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: usize,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

#[derive(Args)]
pub(super) struct Stats {
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

/// Form of exported records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ExportForm {
    /// A JSON object a line.
    #[default]
    Jsonl,
    /// RFC 4180, with a head line; the whole record is the last column.
    Csv,
}

#[derive(Args)]
pub(super) struct Export {
    /// Form of the records.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    form: ExportForm,
    /// Only the signed checkpoints, to be kept where nobody who can write the audit can write: `verify --checkpoints`
    /// checks by them.
    #[arg(long)]
    checkpoints: bool,
    #[command(flatten)]
    wanted: Wanted,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(super) struct Verify {
    /// Checkpoints that were exported before: the audit must still hold them.
    #[arg(long, value_name = "FILE")]
    checkpoints: Option<PathBuf>,
    /// The public key that must have signed; default: that of the key beside the audit.
    #[arg(long, value_name = "HEX")]
    public_key: Option<String>,
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: Output,
}

impl Command {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Self::Tail(tail) => tail.run().await?,
            Self::Query(query) => query.run()?,
            Self::Stats(stats) => stats.run()?,
            Self::Export(export) => export.run()?,
            Self::Verify(verify) => return verify.run(),
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Place {
    fn find(&self) -> anyhow::Result<(PathBuf, Option<AuditFormat>)> {
        if let Some(path) = &self.path {
            return Ok((path.clone(), None));
        }
        let audit = config::load(&Flags { config: self.config.clone(), ..Flags::default() })?.config.audit;
        let path = audit.path.context(
            "the configuration has no `audit.path`, so records went to the log; name a file with `--path`, or write \
             one there",
        )?;
        Ok((path, audit.format))
    }

    fn open(&self) -> anyhow::Result<Reader> {
        let (path, format) = self.find()?;
        open(&path, format)
    }
}

fn open(path: &Path, format: Option<AuditFormat>) -> anyhow::Result<Reader> {
    anyhow::ensure!(
        path.try_exists().unwrap_or(true),
        "there is no audit `{}` yet: a server makes it when it starts with this `audit.path`",
        path.display()
    );
    anyhow::ensure!(!path.is_dir(), "audit `{}` is a folder; name the file in it", path.display());
    let is_jsonl = format.map_or_else(
        || path.extension().is_some_and(|ending| ending == "jsonl"),
        |format| format == AuditFormat::Jsonl,
    );
    if is_jsonl && !path.with_added_extension("base").exists() {
        let shown = path.display();
        note(&format!(
            "`{shown}.base`, the beginning of the chain, is missing: is `{shown}` an audit, and whole? `llmc audit verify` \
             tells"
        ));
    }
    Reader::open(path, format).with_context(|| format!("failed to open audit `{}`", path.display()))
}

impl Wanted {
    fn filter(&self, limit: usize) -> Filter {
        let Self { tool, caller, plugin, outcome, event, refused, text, since, until } = self;
        Filter {
            event: event.clone(),
            caller: caller.clone(),
            tool: tool.clone(),
            plugin: plugin.clone(),
            outcome: outcome.clone(),
            refused: *refused,
            text: text.clone(),
            since_ms: *since,
            until_ms: *until,
            limit,
            ..Filter::default()
        }
    }

    /// All that fit, newest page first.
    fn all(&self, reader: &mut Reader, mut visit: impl FnMut(&Row)) -> anyhow::Result<()> {
        let mut filter = self.filter(PAGE);
        loop {
            let rows = reader.query(&filter)?;
            rows.iter().rev().for_each(&mut visit);
            match rows.first() {
                Some(first) if rows.len() == PAGE => filter.before_seq = Some(first.seq),
                _ => return Ok(()),
            }
        }
    }
}

impl Tail {
    async fn run(self) -> anyhow::Result<()> {
        let mut reader = self.place.open()?;
        let mut filter = self.wanted.filter(self.lines);
        let paint = Paint::for_stdout();
        loop {
            let rows = reader.query(&filter)?;
            self.show(&rows, paint)?;
            if !self.follow {
                return Ok(());
            }
            let newest = rows.last().map(|row| row.seq);
            filter.after_seq = newest.or(filter.after_seq).or(Some(0));
            filter.limit = PAGE;
            tokio::time::sleep(FOLLOW).await;
        }
    }

    /// Line by line in both forms, because it may go on for ever.
    fn show(&self, rows: &[Row], paint: Paint) -> anyhow::Result<()> {
        let line = |row: &Row| match self.output.is_json() {
            true => format!("{}\n", row.to_json()),
            false => text_of(row, paint),
        };
        print(&rows.iter().map(line).collect::<String>())
    }
}

impl Query {
    fn run(self) -> anyhow::Result<()> {
        let rows = self.place.open()?.query(&self.wanted.filter(self.limit))?;
        let paint = Paint::for_stdout();
        let text: String = rows.iter().map(|row| text_of(row, paint)).collect();
        self.output.print(&rows.iter().map(Row::to_json).collect(), &text)
    }
}

impl Stats {
    fn run(self) -> anyhow::Result<()> {
        let mut reader = self.place.open()?;
        let mut counts: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
        let (mut records, mut durations) = (0_u64, Vec::new());
        self.wanted.all(&mut reader, |row| {
            records += 1;
            let fields = &row.fields;
            let mut count = |what, word: &Option<String>| {
                if let Some(word) = word {
                    *counts.entry(what).or_default().entry(word.clone()).or_default() += 1;
                }
            };
            count("events", &Some(fields.event.clone()));
            if fields.event == "call" {
                count("tools", &fields.tool);
                count("callers", &fields.caller);
                count("outcomes", &fields.outcome);
                count("rules", &row.record["rule"].as_str().map(str::to_owned));
                durations.extend(row.record["duration_us"].as_u64());
            }
        })?;
        durations.sort_unstable();
        let part = |part: usize| durations.get(durations.len() * part / 100).copied();
        let state = reader.chain_state()?;
        let json = json!({
            "records": records, "counts": counts, "duration_us": {"p50": part(50), "p99": part(99)}, "chain": state,
        });
        let mut text = format!("{records} records, {} to {} in the chain\n", state.first_seq, state.last_seq);
        if let (Some(p50), Some(p99)) = (part(50), part(99)) {
            text.push_str(&format!("calls took {p50} µs (median), {p99} µs (99 %)\n"));
        }
        for (what, words) in &counts {
            let mut words: Vec<_> = words.iter().collect();
            words.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            text.push_str(&format!("{what}\n"));
            words
                .iter()
                .for_each(|(word, count)| text.push_str(&format!("  {count:>8}  {}\n", printable(word))));
        }
        self.output.print(&json, &text)
    }
}

impl Export {
    fn run(self) -> anyhow::Result<()> {
        let mut reader = self.place.open()?;
        if self.checkpoints {
            let lines: Result<Vec<String>, _> =
                reader.checkpoints()?.iter().map(serde_json::to_string).collect();
            return print(&(lines?.join("\n") + "\n"));
        }
        if self.form == ExportForm::Csv {
            print("seq,time,event,caller,tool,plugin,outcome,record\r\n")?;
        }
        let mut filter = self.wanted.filter(PAGE);
        // Forwards, so that what comes out is in order and memory stays small.
        let last = reader.chain_state()?.last_seq;
        let mut after = reader.chain_state()?.first_seq.saturating_sub(1);
        while after < last {
            let page = after.saturating_add(PAGE as u64);
            (filter.after_seq, filter.before_seq) = (Some(after), Some(page.saturating_add(1)));
            let rows = reader.query(&filter)?;
            let line = |row: &Row| match self.form {
                ExportForm::Jsonl => format!("{}\n", row.to_json()),
                ExportForm::Csv => csv(row),
            };
            print(&rows.iter().map(line).collect::<String>())?;
            after = page;
        }
        Ok(())
    }
}

impl Verify {
    fn run(self) -> anyhow::Result<ExitCode> {
        let (path, format) = self.place.find()?;
        let public_key = match &self.public_key {
            Some(text) => Some(public(text).ok_or_else(|| {
                let form = "write 64 hexadecimal digits, as `llmc audit export --checkpoints` shows them";
                ConfigError::Flag(format!("--public-key: `{text}` is no key; {form}"))
            })?),
            None => None,
        };
        let checkpoints = match &self.checkpoints {
            Some(file) => {
                kept(file).with_context(|| format!("failed to read checkpoints `{}`", file.display()))?
            }
            None => Vec::new(),
        };
        let trust = Trust { public_key, checkpoints };
        let report = open(&path, format)?.verify(&trust)?;
        let paint = Paint::for_stdout();
        let mut text = String::new();
        report
            .findings
            .iter()
            .for_each(|finding| text.push_str(&format!("{} {}\n", paint.bad("!"), printable(finding))));
        if report.more > 0 {
            text.push_str(&format!("and {} more\n", report.more));
        }
        report.notes.iter().for_each(|note| text.push_str(&format!("note: {}\n", printable(note))));
        text.push_str(&match report.is_good() {
            true => format!(
                "{}: {} records ({} to {}), {} checkpoints, all as they were written\n",
                paint.good("good"),
                report.records,
                report.first_seq,
                report.last_seq,
                report.checkpoints
            ),
            false => format!(
                "{}: `{}` is not as it was written, or cannot be checked\n",
                paint.bad("bad"),
                path.display()
            ),
        });
        self.output.print(&serde_json::to_value(&report)?, &text)?;
        Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Checkpoints as `export --checkpoints` prints them.
fn kept(file: &Path) -> anyhow::Result<Vec<Checkpoint>> {
    let text = files::read_text(file, MAX_CHECKPOINT_BYTES)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// One line of text, whatever the record says.
fn text_of(row: &Row, paint: Paint) -> String {
    let fields = &row.fields;
    let outcome = fields.outcome.as_deref().unwrap_or(&fields.event);
    let outcome =
        if row.is_refused() { paint.bad(&printable(outcome)) } else { paint.good(&printable(outcome)) };
    let what = fields.tool.as_deref().unwrap_or(&fields.event);
    let mut line =
        format!("{} {:>6} {outcome} {}", moment(fields.time_ms), row.seq, paint.bold(&printable(what)));
    let mut add = |name: &str, value: &Value| {
        let shown = match value {
            Value::Null => return,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        line.push_str(&format!(" {name}={}", printable(&shown)));
    };
    for name in [
        "caller",
        "plugin",
        "rule",
        "reason",
        "process",
        "program",
        "secret",
        "token",
        "address",
        "file",
        "by",
        "call",
        "parent",
        "trace_id",
        "limits",
        "result_bytes",
        "duration_us",
        "records",
    ] {
        add(name, &row.record[name]);
    }
    line.push('\n');
    line
}

fn csv(row: &Row) -> String {
    let fields = &row.fields;
    // A cell that begins so is a formula to spreadsheets, and callers choose names.
    let cell = |text: &str| {
        let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    };
    let optional = |text: &Option<String>| cell(text.as_deref().unwrap_or_default());
    let cells = [
        row.seq.to_string(),
        cell(&moment(fields.time_ms)),
        cell(&fields.event),
        optional(&fields.caller),
        optional(&fields.tool),
        optional(&fields.plugin),
        optional(&fields.outcome),
        cell(&row.text),
    ];
    cells.join(",") + "\r\n"
}

/// Text without control characters: names and reasons come from callers, and terminals obey them.
fn printable(text: &str) -> String {
    crate::plugin::printable(text.as_bytes())
}

/// RFC 3339 in UTC, with milliseconds.
fn moment(time_ms: u64) -> String {
    let (days, rest) = (time_ms / 86_400_000, time_ms % 86_400_000);
    let (year, month, day) = date(days);
    let (hour, minute, second, ms) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Year, month and day from days since 1970. Howard Hinnant, "chrono-compatible low-level date algorithms".
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Days since 1970 of a date; the reverse of [`date`].
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

/// A moment, or how long ago.
fn time(text: &str) -> Result<u64, String> {
    let problem = || {
        "write a time such as 2026-01-31T12:00:00Z or 2026-01-31, or how long ago, such as 30m, 12h or 7d"
            .to_owned()
    };
    if let Some((count, unit_ms)) = [('s', 1000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000)]
        .iter()
        .find_map(|(unit, ms)| text.strip_suffix(*unit).map(|count| (count, *ms)))
    {
        let count: u64 = count.parse().map_err(|_| problem())?;
        return Ok(now_ms().saturating_sub(count.saturating_mul(unit_ms)));
    }
    let (day, clock) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let parts = |text: &str, by: char| -> Option<Vec<u64>> {
        let digits =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok()).flatten();
        text.split(by).map(digits).collect()
    };
    let read = || {
        let [year, month, day] = parts(day, '-')?.try_into().ok()?;
        let clock = clock.strip_suffix('Z')?;
        let (clock, ms) = clock.split_once('.').unwrap_or((clock, "0"));
        let ms: u64 = format!("{:0<3}", ms.get(..3).unwrap_or(ms)).parse().ok()?;
        let [hour, minute, second] = parts(clock, ':')?.try_into().ok()?;
        let is_date = (1970..10_000).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
        let fits = is_date && date(days(year, month, day)) == (year, month, day);
        let fits = fits && hour < 24 && minute < 60 && second < 60;
        fits.then(|| {
            days(year, month, day) * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1000 + ms
        })
    };
    read().ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back() {
        assert_eq!(moment(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(moment(951_782_400_123), "2000-02-29T00:00:00.123Z");
        for ms in [0, 951_782_400_123, 1_769_860_800_000, 4_102_444_799_999] {
            assert_eq!(time(&moment(ms)), Ok(ms));
        }
        assert_eq!(time("2026-01-31"), time("2026-01-31T00:00:00Z"));
        assert!(time("1h").unwrap() < now_ms() && time("1h").unwrap() > now_ms() - 3_700_000);
        for text in [
            "",
            "h",
            "2026",
            "2026-02-30",
            "2026-13-01",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "-1d",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        let text = json!({"time_ms": 0, "event": "call", "tool": "=1+1", "caller": "a\"b", "outcome": "ok"})
            .to_string();
        let stored = crate::audit::query::row_for_test(&text);
        let line = csv(&stored);
        assert!(
            line.contains("\"'=1+1\"") && line.contains("\"a\"\"b\"") && line.ends_with("\r\n"),
            "{line}"
        );
    }
}
