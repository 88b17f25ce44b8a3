//! Reports for machines that run tests: JUnit's XML, as GitLab, Jenkins and GitHub actions read it.

use std::fmt::Write;

use super::{Incident, Report};

/// A test suite for each report, a test case for each thing that was judged.
pub fn junit(reports: &[Report]) -> String {
    let (tests, failures, errors) = reports
        .iter()
        .map(counts)
        .fold((0, 0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1, sum.2 + counts.2));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing into a text does not fail.
    let _ = writeln!(xml, r#"<testsuites tests="{tests}" failures="{failures}" errors="{errors}">"#);
    for report in reports {
        suite(&mut xml, report);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(xml: &mut String, report: &Report) {
    let (tests, failures, errors) = counts(report);
    let suite = escaped(&report.scenario_id);
    let _ = writeln!(
        xml,
        r#"  <testsuite name="{suite}" tests="{tests}" failures="{failures}" errors="{errors}" id="{}">"#,
        escaped(&report.run_id)
    );
    for check in cases(report) {
        let name = escaped(check);
        let incidents: Vec<_> = report.incidents.iter().filter(|incident| incident.check == check).collect();
        if incidents.is_empty() {
            let _ = writeln!(xml, r#"    <testcase classname="{suite}" name="{name}"/>"#);
            continue;
        }
        let _ = writeln!(xml, r#"    <testcase classname="{suite}" name="{name}">"#);
        incidents.into_iter().for_each(|incident| case(xml, incident));
        xml.push_str("    </testcase>\n");
    }
    xml.push_str("  </testsuite>\n");
}

fn case(xml: &mut String, incident: &Incident) {
    let element = if incident.kind.is_error() { "error" } else { "failure" };
    let details = serde_json::to_string(&incident.details).unwrap_or_default();
    let _ = writeln!(
        xml,
        r#"      <{element} type="{}" message="{}: {}">{}</{element}>"#,
        incident.kind.name(),
        incident.severity,
        escaped(&incident.summary),
        escaped(&details)
    );
}

/// What was judged, after what belongs to no check, such as an empty trace.
fn cases(report: &Report) -> Vec<&str> {
    let other = report.incidents.iter().map(|incident| incident.check.as_str());
    let other = other.filter(|check| !report.checks.iter().any(|known| known == check));
    other.chain(report.checks.iter().map(String::as_str)).collect()
}

/// Numbers of cases, of those that failed, and of those that could not be judged.
fn counts(report: &Report) -> (usize, usize, usize) {
    let errors = report.incidents.iter().filter(|incident| incident.kind.is_error()).count();
    (cases(report).len(), report.incidents.len() - errors, errors)
}

/// A text as XML 1.0 can hold it, in attributes as well: control characters have no form there.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\n' | '\r' | '\t' => {
                let _ = write!(safe, "&#{};", u32::from(letter));
            }
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                safe.push('\u{fffd}')
            }
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;
    use crate::report::{IncidentKind, Metrics, Status};
    use crate::scenario::Severity;

    #[test]
    fn what_traces_say_stays_text() {
        let incident = |kind, check: &str| Incident {
            id: "s-1".into(),
            severity: Severity::P1,
            kind,
            check: check.into(),
            summary: "]]></failure><x a='\"'>&\u{1b}[31m\n".into(),
            details: Map::from_iter([("a<b".to_owned(), "<!--".into())]),
        };
        let report = Report {
            run_id: "<r>".into(),
            scenario_id: "s".into(),
            status: Status::Fail,
            incidents: vec![
                incident(IncidentKind::TraceEmpty, "trace"),
                incident(IncidentKind::ToolNotUsed, "b"),
            ],
            metrics: Metrics { total_steps: 1, total_tool_calls: 0, expectations: 2 },
            checks: vec!["a".into(), "b".into()],
        };
        let xml = junit(&[report]);
        assert!(
            xml.contains(r#"<testsuite name="s" tests="3" failures="1" errors="1" id="&lt;r&gt;">"#),
            "{xml}"
        );
        assert!(xml.contains(r#"<testcase classname="s" name="a"/>"#), "{xml}");
        assert!(
            xml.contains(r#"<failure type="TOOL_NOT_USED" message="P1: ]]&gt;&lt;/failure&gt;"#),
            "{xml}"
        );
        assert_eq!(xml.matches("<failure").count() + xml.matches("<error ").count(), 2, "{xml}");
        assert!(!xml.contains("<x") && !xml.contains("<!--") && !xml.contains('\u{1b}'), "{xml}");
    }
}
