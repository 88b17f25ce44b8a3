//! A part of the proof as text, for whoever started the benchmark: claims first, the numbers behind them below.

use std::fmt::{self, Display, Formatter};

use llmc_proof::{Claim, Part, Table};

/// Between two columns.
const GAP: usize = 2;

/// A part, to be printed.
pub(crate) struct Text<'a>(pub(crate) &'a Part);

impl Display for Text<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let Part { title, summary, claims, tables, left_out, .. } = self.0;
        writeln!(out, "{title}\n{summary}")?;
        if !claims.is_empty() {
            writeln!(out)?;
        }
        let width = claims.iter().map(|claim| claim.what.chars().count()).max().unwrap_or(0);
        for Claim { what, expected, seen, held } in claims {
            let verdict = if *held { "met" } else { "MISSED" };
            writeln!(out, "  {verdict:<6}  {what:<width$}  {expected}: {seen}")?;
        }
        for what in left_out {
            writeln!(out, "  LEFT OUT: {what}")?;
        }
        tables.iter().try_for_each(|table| self::table(out, table))
    }
}

fn table(out: &mut Formatter<'_>, table: &Table) -> fmt::Result {
    let Table { title, note, columns, rows } = table;
    writeln!(out, "\n{title}")?;
    if !note.is_empty() {
        writeln!(out, "{note}")?;
    }
    let width = |column: usize| {
        let cells = rows.iter().chain([columns]).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    line(out, columns, &widths)?;
    rows.iter().try_for_each(|row| line(out, row, &widths))
}

/// The first cell says what the others are about.
fn line(out: &mut Formatter<'_>, cells: &[String], widths: &[usize]) -> fmt::Result {
    let mut text = String::new();
    for (number, (cell, width)) in cells.iter().zip(widths).enumerate() {
        text += &match number {
            0 => format!("{:GAP$}{cell:<width$}", ""),
            _ => format!("{:GAP$}{cell:>width$}", ""),
        };
    }
    writeln!(out, "{}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_come_first_and_columns_stand_below_each_other() {
        let cells = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let claim =
            |held| Claim { what: "p50".into(), expected: "at most 2x".into(), seen: "1.50x".into(), held };
        let part = Part {
            title: "calls".into(),
            summary: "1 of 2 targets are met.".into(),
            claims: vec![claim(true), claim(false)],
            tables: vec![Table {
                title: "times".into(),
                note: String::new(),
                columns: cells(&["", "us"]),
                rows: vec![cells(&["hello", "7"]), cells(&["read", "100"])],
            }],
            left_out: vec!["bwrap: it is not installed".into()],
            ..Part::default()
        };
        let expected = [
            "calls",
            "1 of 2 targets are met.",
            "",
            "  met     p50  at most 2x: 1.50x",
            "  MISSED  p50  at most 2x: 1.50x",
            "  LEFT OUT: bwrap: it is not installed",
            "",
            "times",
            "          us",
            "  hello    7",
            "  read   100",
            "",
        ];
        assert_eq!(Text(&part).to_string(), expected.join("\n"));
    }
}
