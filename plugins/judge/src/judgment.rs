//! Judging a trace by a scenario.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use crate::expression::{Budget, Expression, ExpressionError, Type, Value, Variable};
use crate::facts::Facts;
use crate::report::{Incident, IncidentKind, Metrics, Report, Status};
use crate::scenario::{Property, PropertyKind, Scenario, Severity};
use crate::trace::{Call, Trace, calls};

/// Judges a trace. It passes only if all that is expected was seen to hold.
///
/// `go_on` is asked before each property; an error of it ends the judgment.
///
/// # Errors
/// That of `go_on`.
pub fn judge<E>(scenario: &Scenario, trace: &Trace, go_on: impl Fn() -> Result<(), E>) -> Result<Report, E> {
    let calls = calls(&trace.events);
    let mut judgment = Judgment {
        scenario,
        facts: Facts { calls: &calls, queries: &scenario.queries },
        budget: Budget::default(),
        incidents: Vec::new(),
    };
    judgment.calls_exist();
    judgment.tools();
    for property in &scenario.expectations.properties {
        go_on()?;
        judgment.property(property);
    }
    let incidents = judgment.incidents;
    let expected = &scenario.expectations;
    Ok(Report {
        run_id: trace.run_id.clone(),
        scenario_id: scenario.id.clone(),
        status: if incidents.is_empty() { Status::Pass } else { Status::Fail },
        incidents,
        metrics: Metrics {
            total_steps: trace.events.len(),
            total_tool_calls: calls.len(),
            expectations: expected.must_use_tools.len()
                + expected.must_not_use_tools.len()
                + expected.properties.len(),
        },
        checks: checks(scenario),
    })
}

/// Names of all that was judged.
fn checks(scenario: &Scenario) -> Vec<String> {
    let expected = &scenario.expectations;
    let must = expected.must_use_tools.iter().map(|tool| must_use(tool));
    let must_not = expected.must_not_use_tools.iter().map(|tool| must_not_use(tool));
    let properties = expected.properties.iter().map(|property| property.name.clone());
    must.chain(must_not).chain(properties).collect()
}

fn must_use(tool: &str) -> String {
    format!("must use {tool}")
}

fn must_not_use(tool: &str) -> String {
    format!("must not use {tool}")
}

struct Judgment<'a> {
    scenario: &'a Scenario,
    facts: Facts<'a>,
    budget: Budget,
    incidents: Vec<Incident>,
}

/// Why a property does not hold.
enum Failed {
    /// It is false.
    False { relation: Option<Value>, why: Option<String> },
    /// It cannot be judged.
    Error { field: &'static str, error: ExpressionError },
}

impl Judgment<'_> {
    fn incident(
        &mut self,
        severity: Severity,
        kind: IncidentKind,
        check: String,
        summary: String,
        details: Json,
    ) {
        let id = format!("{}-{}", self.scenario.id, self.incidents.len() + 1);
        let details = if let Json::Object(details) = details { details } else { Map::new() };
        self.incidents.push(Incident { id, severity, kind, check, summary, details });
    }

    /// A session without a call shows nothing, whatever is expected of it.
    fn calls_exist(&mut self) {
        if self.facts.calls.is_empty() {
            let summary = "the trace has no tool call, so nothing can be judged".to_owned();
            self.incident(Severity::P0, IncidentKind::TraceEmpty, "trace".to_owned(), summary, json!({}));
        }
    }

    fn tools(&mut self) {
        let expected = &self.scenario.expectations;
        for tool in &expected.must_use_tools {
            let calls: Vec<&Call> = self.facts.of_tool(tool).collect();
            if calls.iter().any(|call| call.success == Some(true)) {
                continue;
            }
            let summary = match calls.len() {
                0 => format!("`{tool}` was not called"),
                count => format!("`{tool}` was called {count} times and is not known to have succeeded"),
            };
            let details = json!({"tool": tool, "calls": calls.len()});
            self.incident(Severity::P1, IncidentKind::ToolNotUsed, must_use(tool), summary, details);
        }
        for tool in &expected.must_not_use_tools {
            let calls: Vec<&Call> = self.facts.of_tool(tool).collect();
            let Some(first) = calls.first() else { continue };
            let summary = format!("`{}` was called at step {}", first.tool, first.step);
            let steps: Vec<u64> = calls.iter().map(|call| call.step).take(MAX_STEPS_SHOWN).collect();
            let details = json!({"tool": tool, "calls": calls.len(), "steps": steps});
            self.incident(Severity::P1, IncidentKind::ToolForbidden, must_not_use(tool), summary, details);
        }
    }

    fn property(&mut self, property: &Property) {
        let Err(failed) = self.holds(property) else { return };
        let is_metamorphic = property.kind == PropertyKind::Metamorphic;
        let mut details = json!({"constraint": property.constraint});
        if let Some(relation) = &property.relation {
            details["relation"] = json!(relation);
        }
        let (severity, kind, summary) = match failed {
            Failed::False { relation, why } => {
                if let Some(value) = relation {
                    details["relation_value"] = shown(&value);
                }
                let why = why.map_or(String::new(), |why| format!(": {why}"));
                let kind = if is_metamorphic {
                    IncidentKind::MetamorphicViolation
                } else {
                    IncidentKind::PropertyViolation
                };
                (self.severity(property), kind, format!("`{}` does not hold{why}", property.name))
            }
            Failed::Error { field, error } => {
                details["error"] = json!(error.to_string());
                let kind =
                    if is_metamorphic { IncidentKind::MetamorphicError } else { IncidentKind::PropertyError };
                // Never less than P1: what cannot be judged may hide anything.
                let severity = self.severity(property).min(Severity::P1);
                (severity, kind, format!("`{}` cannot be judged: `{field}`: {error}", property.name))
            }
        };
        self.incident(severity, kind, property.name.clone(), summary, details);
    }

    fn severity(&self, property: &Property) -> Severity {
        let usual = if property.kind == PropertyKind::Heuristic { Severity::P3 } else { Severity::P2 };
        let policy: &BTreeMap<String, Severity> = &self.scenario.severity_policy.property_failures;
        policy.get(&property.name).copied().unwrap_or(usual)
    }

    fn holds(&mut self, property: &Property) -> Result<(), Failed> {
        let in_relation = |error| Failed::Error { field: "relation", error };
        let in_constraint = |error| Failed::Error { field: "constraint", error };
        let relation = property.relation.as_deref().map(|text| Expression::parse(text, &[]));
        let relation = relation.transpose().map_err(in_relation)?;
        let names: Vec<&str> =
            relation.iter().flat_map(|relation| [Some("relation"), relation.called()]).flatten().collect();
        let typed: Vec<_> =
            relation.iter().flat_map(|relation| names.iter().map(|name| (*name, relation.kind()))).collect();
        let constraint = Expression::parse(&property.constraint, &typed).map_err(in_constraint)?;
        if !matches!(constraint.kind(), Type::Bool | Type::Any) {
            return Err(in_constraint(not_a_claim(constraint.kind())));
        }

        let budget = &mut self.budget;
        let value = relation.map(|relation| relation.evaluate(&self.facts, &[], budget)).transpose();
        let value = value.map_err(in_relation)?;
        let variables: Vec<Variable<'_>> =
            value.iter().flat_map(|value| names.iter().map(|name| (*name, value.clone()))).collect();
        match constraint.evaluate(&self.facts, &variables, budget).map_err(in_constraint)? {
            Value::Bool(true) => Ok(()),
            Value::Bool(false) => {
                let why = constraint.why_false(&self.facts, &variables, budget);
                Err(Failed::False { relation: value, why })
            }
            other => Err(in_constraint(not_a_claim(other.kind()))),
        }
    }
}

/// Steps of a forbidden tool that a report names.
const MAX_STEPS_SHOWN: usize = 20;

/// Largest value of a relation that a report shows, in bytes of JSON.
const MAX_SHOWN_BYTES: usize = 1_000;

fn shown(value: &Value) -> Json {
    let json = value.to_json();
    let text = json.to_string();
    if text.len() <= MAX_SHOWN_BYTES {
        return json;
    }
    Json::String(format!("{}…", &text[..text.floor_char_boundary(MAX_SHOWN_BYTES)]))
}

fn not_a_claim(kind: Type) -> ExpressionError {
    ExpressionError {
        kind: crate::expression::Kind::Type,
        column: 1,
        message: format!("a constraint is true or false, and this is {kind}; compare it with something"),
    }
}

#[cfg(test)]
#[path = "judgment_tests.rs"]
mod tests;
