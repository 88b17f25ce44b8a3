//! What of the tables of a part means something on any machine: columns of ratios, shares and counts.

use std::fmt::Write as _;

use super::cell::cell;
use super::portable::{is_portable, names_unit};
use crate::Table;

/// Longer tables are left to the report.
const MOST_ROWS: usize = 40;

/// How a heading says that what stands below it is a ratio, whatever of.
const RATIOS: [&str; 2] = ["ratio", "llmc/this"];

/// What a column holds.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Shown.
    Portable,
    /// Numbers of one machine.
    Measured,
    /// Words: the table is no table of numbers.
    Words,
}

/// The table without what belongs to one machine; nothing if nothing is left.
pub(super) fn table(text: &mut String, table: &Table) {
    let kinds: Vec<Kind> = (1..table.columns.len()).map(|column| kind(table, column)).collect();
    if kinds.contains(&Kind::Words) || table.rows.len() > MOST_ROWS {
        return;
    }
    let shown: Vec<usize> =
        (1..).zip(&kinds).filter(|(_, kind)| **kind == Kind::Portable).map(|(at, _)| at).collect();
    let has_figure = |row: &&Vec<String>| shown.iter().any(|at| !row[*at].is_empty());
    let rows: Vec<&Vec<String>> = table.rows.iter().filter(has_figure).collect();
    if rows.is_empty() {
        return;
    }
    title(text, table);
    let names = std::iter::once(table.columns[0].clone()).chain(shown.iter().map(|at| name(table, *at)));
    line(text, names.map(|name| cell(&name)));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(shown.len()));
    for row in rows {
        line(text, std::iter::once(&row[0]).chain(shown.iter().map(|at| &row[*at])).map(|text| cell(text)));
    }
}

/// All of a table of words.
pub(super) fn words(text: &mut String, table: &Table) {
    title(text, table);
    line(text, table.columns.iter().map(|text| cell(text)));
    let _ = writeln!(text, "|{}", "---|".repeat(table.columns.len()));
    for row in &table.rows {
        line(text, row.iter().map(|text| cell(text)));
    }
}

fn title(text: &mut String, table: &Table) {
    let _ = write!(text, "\n**{}.**", cell(&capital(without_unit(&table.title))));
    if !table.note.is_empty() && is_portable(&table.note) {
        let _ = write!(text, " {}", cell(&table.note));
    }
    text.push_str("\n\n");
}

/// Without `(ms)` at its end: what is of that unit is not shown.
fn without_unit(title: &str) -> &str {
    match title.rsplit_once(" (") {
        Some((title, unit)) if unit.ends_with(')') && names_unit(unit) => title,
        _ => title,
    }
}

/// With a capital, unless it begins with a name such as `p50`.
fn capital(title: &str) -> String {
    let mut characters = title.chars();
    match characters.next() {
        Some(first) if characters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_uppercase().chain(characters).collect()
        }
        _ => title.to_owned(),
    }
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// A heading that says no more than that it is a ratio is one of the column before it.
fn name(table: &Table, column: usize) -> String {
    let name = &table.columns[column];
    match name == RATIOS[0] && names_unit(&table.columns[column - 1]) {
        true => format!("{}, {name}", table.columns[column - 1]),
        false => name.clone(),
    }
}

fn kind(table: &Table, column: usize) -> Kind {
    let cells = || table.rows.iter().map(|row| row[column].trim()).filter(|cell| !cell.is_empty());
    let heading = &table.columns[column];
    if cells().any(|cell| !is_figure(cell)) {
        return Kind::Words;
    }
    let is_plain = cells().all(is_number);
    let is_marked = is_plain && cells().all(|cell| cell.ends_with('x') || cell.ends_with('%'));
    let is_ratio = is_marked || RATIOS.iter().any(|word| heading.starts_with(word));
    let is_measure = names_unit(heading) || names_unit(&table.title) || !is_plain;
    if is_ratio || !is_measure { Kind::Portable } else { Kind::Measured }
}

/// Whether a cell is about a number: one, several, or that there is none.
fn is_figure(cell: &str) -> bool {
    let is_none = ["-", "–", "NaN", "inf"].contains(&cell);
    is_none
        || cell
            .trim_start_matches(['+', '-', '−', '[', '(', '<', '>', '≤', '≥'])
            .starts_with(|c: char| c.is_ascii_digit())
}

/// Whether a cell is a number alone, with a sign before it or that of a ratio behind it.
fn is_number(cell: &str) -> bool {
    let cell = cell.trim_start_matches(['+', '−']).trim_end_matches(['x', '%']).trim_end();
    cell == "-" || cell == "–" || cell.replace(',', "").parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(title: &str, columns: &[&str], rows: &[&[&str]]) -> String {
        let texts = |row: &[&str]| row.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let rows = rows.iter().map(|row| texts(row)).collect();
        let made = Table { title: title.into(), note: String::new(), columns: texts(columns), rows };
        let mut text = String::new();
        table(&mut text, &made);
        text
    }

    #[test]
    fn of_a_curve_the_ratios_are_shown() {
        let columns = ["plugins", "p50 (us)", "ratio", "memory (MiB)", "ratio"];
        let text = shown(
            "against plugins",
            &columns,
            &[&["1", "2.00", "2.00x", "", ""], &["5", "250", "2.50x", "12.3", "12.34x"]],
        );
        let expected = "\n**Against plugins.**\n\n| plugins | p50 (us), ratio | memory (MiB), ratio |\n|---|---:|---:|\n\
                        | 1 | 2.00x |  |\n| 5 | 2.50x | 12.34x |\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn counts_and_shares_are_shown_and_measures_are_not() {
        let http = shown(
            "servers in turns",
            &["", "calls", "calls/s", "p50 us", "llmc/this: calls/s"],
            &[&["node, echo", "900", "3000", "12", "1.50"]],
        );
        assert!(
            http.ends_with(
                "|  | calls | llmc/this: calls/s |\n|---|---:|---:|\n| node, echo | 900 | 1.50 |\n"
            ),
            "{http}"
        );
        let parts = shown(
            "where it goes",
            &["", "us", "of the call"],
            &[&["pipe", "5.5", "15%"], &["CPU", "9.1", ""]],
        );
        assert!(parts.ends_with("|  | of the call |\n|---|---:|\n| pipe | 15% |\n"), "{parts}");
        assert!(
            shown("questions (24)", &["", "recall@5"], &[&["llmc", "0.917"]]).contains("| llmc | 0.917 |")
        );
    }

    #[test]
    fn tables_of_one_machine_or_of_words_stay_out() {
        assert_eq!(shown("latency (us)", &["", "best", "worst"], &[&["hello", "1.2", "3.4"]]), "");
        assert_eq!(shown("memory", &["of", "KiB"], &[&["server", "900"]]), "");
        assert_eq!(shown("others", &["", "each round"], &[&["latency", "[42%] 11%"]]), "");
        assert_eq!(shown("tests", &["test", "outcome"], &[&["a", "ok"]]), "");
        assert_eq!(shown("attacks", &["#", "input", "times"], &[&["1", "open()", "3"]]), "");
        let rows: Vec<&[&str]> = vec![&["a", "1"]; MOST_ROWS + 1];
        assert_eq!(shown("faults", &["fault", "times"], &rows), "");
        assert!(!shown("faults", &["fault", "times"], &rows[1..]).is_empty());
    }
}
