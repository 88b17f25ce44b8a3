//! Reports for people.

use std::fmt::Write;

use super::{Report, Status};

/// A line for each thing that was judged, and what is wrong with it.
pub fn table(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        let Report { status, scenario_id, run_id, metrics, .. } = report;
        let verdict = if *status == Status::Pass { "PASS" } else { "FAIL" };
        // Writing into a text does not fail.
        let _ = writeln!(
            text,
            "{verdict}  {}  (run {}, {} calls, {} expectations)",
            line(scenario_id),
            line(run_id),
            metrics.total_tool_calls,
            metrics.expectations
        );
        let width = report.checks.iter().map(|check| check.chars().count()).max().unwrap_or(0).min(MAX_WIDTH);
        for check in rows(report) {
            let mut incidents = report.incidents.iter().filter(|incident| incident.check == check).peekable();
            if incidents.peek().is_none() {
                let _ = writeln!(text, "  ok  {}", line(check));
            }
            for incident in incidents {
                let _ = writeln!(
                    text,
                    "  {}  {:width$}  {}",
                    incident.severity,
                    line(check),
                    line(&incident.summary)
                );
            }
        }
    }
    if reports.len() > 1 {
        let passed = reports.iter().filter(|report| report.status == Status::Pass).count();
        let _ = writeln!(text, "{passed} of {} passed", reports.len());
    }
    text
}

/// Names beyond this width are not waited for by others.
const MAX_WIDTH: usize = 40;

/// What was judged, after what belongs to no check, such as an empty trace.
fn rows(report: &Report) -> impl Iterator<Item = &str> {
    let other = report.incidents.iter().map(|incident| incident.check.as_str());
    other
        .filter(|check| !report.checks.iter().any(|known| known == check))
        .chain(report.checks.iter().map(String::as_str))
}

/// A text on one line, with nothing in it that a terminal obeys: traces and scenarios come from anywhere.
fn line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::report::{Incident, IncidentKind, Metrics};
    use crate::scenario::Severity;

    #[test]
    fn a_terminal_is_told_nothing() {
        let incident = Incident {
            id: "s-1".into(),
            severity: Severity::P2,
            kind: IncidentKind::PropertyViolation,
            check: "a".into(),
            summary: "red \u{1b}[31m\nPASS".into(),
            details: Map::new(),
        };
        let report = Report {
            run_id: "r".into(),
            scenario_id: "s".into(),
            status: Status::Fail,
            incidents: vec![incident],
            metrics: Metrics { total_steps: 2, total_tool_calls: 1, expectations: 2 },
            checks: vec!["a".into(), "b".into()],
        };
        let text = table(&[report]);
        let expected =
            "FAIL  s  (run r, 1 calls, 2 expectations)\n  P2  a  red \u{fffd}[31m\u{fffd}PASS\n  ok  b\n";
        assert_eq!(text, expected);
    }
}
