//! The page: what failed first, then everything, each part with what repeats it. Nothing is fetched, nothing is run.

use std::fmt::Write as _;

use super::chart::figure;
use super::date::utc;
use super::text::{duration, escape};
use super::{MACHINE, Report};
use crate::{Claim, Part, Table};

const STYLE: &str = include_str!("style.css");
/// Tables with more rows are folded.
const OPEN_ROWS: usize = 24;
/// Lists of claims with more entries are folded, those that failed excepted.
const OPEN_CLAIMS: usize = 40;

/// The report as a page of HTML.
#[must_use]
pub fn page(report: &Report) -> String {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>llmc: proof</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    html.push_str("<h1>llmc: proof</h1>\n");
    summary(&mut html, report);
    failures(&mut html, report);
    contents(&mut html, report);
    report.parts.iter().for_each(|part| section(&mut html, part));
    html.push_str("</body>\n</html>\n");
    html
}

fn summary(html: &mut String, report: &Report) {
    let machine = report.parts.iter().find(|part| part.name == MACHINE);
    if let Some(machine) = machine {
        let _ = writeln!(html, "<p class=\"soft\">{}. {}</p>", escape(&machine.summary), utc(machine.began));
    }
    let missing = report.parts.iter().filter(|part| !part.was_run()).count();
    let ran = report.parts.len() - missing;
    let (class, word) =
        if report.holds() { ("good", "Everything held") } else { ("bad", "Not everything held") };
    let _ = write!(
        html,
        "<p class=\"verdict {class}\"><strong>{word}:</strong> {} claims held, {} did not; {ran} parts were run",
        report.held, report.failed
    );
    let not_run = if missing == 0 { String::new() } else { format!(", {missing} were not") };
    let _ = writeln!(html, "{not_run}.</p>");
    let short = report.parts.iter().filter(|part| part.was_run() && part.falls_short().is_some()).count();
    let sources = report.sources();
    if short > 0 {
        let _ = writeln!(html, "<p>{short} of {ran} parts are not of a whole run; each says why.</p>");
    }
    if !sources.is_empty() {
        let _ = writeln!(html, "<p class=\"soft\">Sources: {}.</p>", escape(&sources.join(", ")));
    }
    if let Some(table) = machine.and_then(|machine| machine.tables.first()) {
        self::table(html, table);
    }
}

fn failures(html: &mut String, report: &Report) {
    if report.failed == 0 {
        return;
    }
    html.push_str("<section class=\"failures\">\n<h2>What did not hold</h2>\n<div class=\"scroll\"><table><thead><tr><th>part</th><th>claim</th><th>expected</th><th>seen</th></tr></thead><tbody>\n");
    for (part, claim) in report.failures() {
        let _ = writeln!(
            html,
            "<tr class=\"bad\"><td><a href=\"#{}\">{}</a></td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&part.name),
            escape(&part.title),
            escape(&claim.what),
            escape(&claim.expected),
            escape(&claim.seen)
        );
    }
    html.push_str("</tbody></table></div>\n</section>\n");
}

fn contents(html: &mut String, report: &Report) {
    html.push_str("<nav aria-label=\"Contents\">\n<ol>\n");
    for part in &report.parts {
        let _ = writeln!(
            html,
            "<li><a href=\"#{}\">{}</a> {}</li>",
            escape(&part.name),
            escape(&part.title),
            chip(part)
        );
    }
    html.push_str("</ol>\n</nav>\n");
}

/// How a part ended, in a word.
fn chip(part: &Part) -> String {
    let held = part.claims.iter().filter(|claim| claim.held).count();
    let (class, text) = match (part.was_run(), part.claims.len()) {
        (false, _) => ("bad", "not run".to_owned()),
        (true, 0) => ("bad", "no claims".to_owned()),
        (true, all) if part.held() => ("good", format!("{all} held")),
        (true, all) => ("bad", format!("{} of {all} failed", all - held)),
    };
    format!("<span class=\"chip {class}\">{text}</span>")
}

fn section(html: &mut String, part: &Part) {
    let _ = writeln!(
        html,
        "<section>\n<h2 id=\"{}\">{} {}</h2>",
        escape(&part.name),
        escape(&part.title),
        chip(part)
    );
    let _ = writeln!(html, "<p>{}</p>", escape(&part.summary));
    let _ = write!(html, "<p class=\"soft\">Repeat it with <code>{}</code>", escape(&part.command));
    if part.was_run() {
        let _ = write!(html, " · {} · took {}", utc(part.began), duration(part.seconds));
        if let Some(made) = &part.made {
            let _ = write!(html, " · {}", escape(&made.sources.to_string()));
        }
        if let Some(why) = part.falls_short() {
            let _ = write!(html, " · <strong>not of a whole run: {}</strong>", escape(why));
        }
    }
    html.push_str("</p>\n");
    claims(html, &part.claims);
    part.charts.iter().for_each(|chart| html.push_str(&figure(chart)));
    part.tables.iter().for_each(|table| self::table(html, table));
    if !part.left_out.is_empty() {
        html.push_str("<h3>Left out</h3>\n<ul>\n");
        for text in &part.left_out {
            let _ = writeln!(html, "<li class=\"soft\">{}</li>", escape(text));
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</section>\n");
}

fn claims(html: &mut String, claims: &[Claim]) {
    let (held, failed): (Vec<&Claim>, Vec<&Claim>) = claims.iter().partition(|claim| claim.held);
    if !failed.is_empty() {
        claim_table(html, &failed);
    }
    match held.len() {
        0 => {}
        count if count > OPEN_CLAIMS => {
            let _ = writeln!(html, "<details><summary>{count} claims that held</summary>");
            claim_table(html, &held);
            html.push_str("</details>\n");
        }
        _ => claim_table(html, &held),
    }
}

fn claim_table(html: &mut String, claims: &[&Claim]) {
    html.push_str("<div class=\"scroll\"><table><thead><tr><th>claim</th><th>expected</th><th>seen</th><th></th></tr></thead><tbody>\n");
    for claim in claims {
        let (class, word) = if claim.held { ("good", "✓ held") } else { ("bad", "✗ failed") };
        let _ = writeln!(
            html,
            "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{}</td><td class=\"state\">{word}</td></tr>",
            escape(&claim.what),
            escape(&claim.expected),
            escape(&claim.seen)
        );
    }
    html.push_str("</tbody></table></div>\n");
}

fn table(html: &mut String, table: &Table) {
    let rows = table.rows.len();
    let is_long = rows > OPEN_ROWS;
    if is_long {
        let _ = writeln!(html, "<details><summary>{} ({rows} rows)</summary>", escape(&table.title));
    } else if !table.title.is_empty() {
        let _ = writeln!(html, "<h3>{}</h3>", escape(&table.title));
    }
    if !table.note.is_empty() {
        let _ = writeln!(html, "<p class=\"soft\">{}</p>", escape(&table.note));
    }
    html.push_str("<div class=\"scroll\"><table><thead><tr>");
    for column in &table.columns {
        let _ = write!(html, "<th>{}</th>", escape(column));
    }
    html.push_str("</tr></thead><tbody>\n");
    for row in &table.rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = write!(html, "<td>{}</td>", escape(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    if is_long {
        html.push_str("</details>\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Chart;

    /// Would run, load, or leave its place in a page that takes it as it is.
    const HOSTILE: &str =
        "</td></table><script>alert(1)</script><img src=x onerror=alert(1)>\" onload='x' \u{202e}\u{0}&amp;";

    fn part() -> Part {
        let hostile = || HOSTILE.to_owned();
        Part {
            name: hostile(),
            title: hostile(),
            command: hostile(),
            summary: hostile(),
            claims: vec![Claim { what: hostile(), expected: hostile(), seen: hostile(), held: false }],
            tables: vec![Table {
                title: hostile(),
                note: hostile(),
                columns: vec![hostile()],
                rows: vec![vec![hostile()]; OPEN_ROWS + 1],
            }],
            charts: vec![Chart {
                title: hostile(),
                x_label: hostile(),
                y_label: hostile(),
                series: vec![crate::Series { name: hostile(), points: vec![(1.0, 1.0)] }; 2],
                ..Chart::default()
            }],
            left_out: vec![hostile()],
            made: Some(crate::Made {
                sources: crate::Sources { commit: Some(hostile()), clean: true },
                ..crate::Made::default()
            }),
            ..Part::default()
        }
    }

    #[test]
    fn nothing_that_was_measured_becomes_markup() {
        let machine = Part { name: MACHINE.into(), ..part() };
        let html = page(&Report::new(vec![machine, part()]));
        for markup in ["<script", "<img", "\" onload", "' onload", "\u{202e}", "\u{0}"] {
            assert!(!html.contains(markup), "{markup:?}");
        }
        // The neighbour: all of it can be read.
        assert!(html.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count() > 2 * OPEN_ROWS);
        assert!(html.contains("&amp;amp;"), "what was escaped is shown as it was");
    }

    #[test]
    fn the_page_needs_nothing_beside_itself() {
        let html = page(&Report::new(vec![part()]));
        for outside in ["http://", "https://", "src=\"", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
        assert!(html.contains("default-src 'none'") && html.contains("prefers-color-scheme"));
    }

    #[test]
    fn a_part_says_how_it_was_made() {
        let claims = vec![Claim { what: "fine".into(), held: true, ..Claim::default() }];
        let sources = crate::Sources { commit: Some("0a1b2c".into()), clean: true };
        let made = crate::Made { release: true, full: true, sources };
        let whole = Part { claims, made: Some(made.clone()), ..Part::default() };
        let html = page(&Report::new(vec![whole.clone()]));
        assert!(html.contains(" · 0a1b2c</p>") && !html.contains("whole run"), "{html}");
        let short = Part { made: Some(crate::Made { full: false, ..made }), ..whole.clone() };
        let html = page(&Report::new(vec![whole.clone(), short, Part { made: None, ..whole }]));
        assert!(html.contains("2 of 3 parts are not of a whole run"), "{html}");
        assert!(html.contains("not of a whole run: it was cut short") && html.contains("has not made it"));
    }

    #[test]
    fn what_failed_comes_first() {
        let claim = |what: &str, held| Claim { what: what.into(), held, ..Claim::default() };
        let good = Part {
            name: "good".into(),
            title: "Good".into(),
            claims: vec![claim("fine", true)],
            ..Part::default()
        };
        let bad = Part {
            name: "bad".into(),
            claims: vec![claim("fine too", true), claim("broken", false)],
            ..Part::default()
        };
        let html = page(&Report::new(vec![good.clone(), bad, Part::not_run("soak", "Soak", "c", "no verb")]));
        let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("no {text}"));
        assert!(at("What did not hold") < at("<nav") && at("broken") < at("fine"));
        assert!(html.contains("2 claims held, 2 did not; 2 parts were run, 1 were not"), "{html}");
        assert!(html.contains("not run</span>") && html.contains("1 of 2 failed"));
        let html = page(&Report::new(vec![good]));
        assert!(html.contains("Everything held") && !html.contains("What did not hold"));
    }
}
