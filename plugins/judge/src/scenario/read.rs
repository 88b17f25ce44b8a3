//! Reading scenarios: YAML within bounds, then what the types cannot say.

use std::collections::BTreeSet;

use serde_saphyr::options::DuplicateKeyPolicy;

use super::Scenario;
use crate::limits::{MAX_EXPRESSION_BYTES, MAX_ID_BYTES, MAX_NAMES, MAX_PROPERTIES, MAX_SCENARIO_BYTES};

/// Larger scenarios have more than a reader can follow; these are far above any that make sense.
const MAX_NODES: usize = 20_000;
const MAX_DEPTH: usize = 32;
const MAX_ALIASES: usize = 100;
const MAX_REPLAYED_EVENTS: usize = 10_000;

/// Why a text is no scenario.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// It is larger than [`MAX_SCENARIO_BYTES`].
    #[error("the scenario has {0} bytes; {MAX_SCENARIO_BYTES} are the most")]
    TooLarge(usize),
    /// It is not YAML, or not that of a scenario.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// Its parts do not fit together.
    #[error("`{field}`: {message}")]
    Invalid {
        /// Where.
        field: String,
        /// What is wrong.
        message: String,
    },
}

/// Reads a scenario.
///
/// # Errors
/// If it is too large, is no YAML of a scenario, or expects nothing.
pub fn parse(text: &str) -> Result<Scenario, ScenarioError> {
    if text.len() > MAX_SCENARIO_BYTES {
        return Err(ScenarioError::TooLarge(text.len()));
    }
    let scenario: Scenario =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| syntax(&error))?;
    check(&scenario)?;
    Ok(scenario)
}

/// Aliases are bounded, so that no short text becomes a long one; nothing is included, expanded or guessed.
fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 2 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_documents: 1,
            max_total_scalar_bytes: MAX_SCENARIO_BYTES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED_EVENTS,
            max_replay_stack_depth: MAX_DEPTH,
            max_alias_expansions_per_anchor: MAX_ALIASES,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    }
}

fn syntax(error: &serde_saphyr::Error) -> ScenarioError {
    let place = error.location();
    let text = error.without_snippet().to_string();
    // The place is told in front.
    let message = match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    };
    let (line, column) = place.map_or((1, 1), |place| (place.line(), place.column()));
    ScenarioError::Syntax { line, column, message }
}

fn check(scenario: &Scenario) -> Result<(), ScenarioError> {
    if !is_name(&scenario.id, "._-") || scenario.id.starts_with('.') {
        return invalid(
            "id",
            format!("1 to {MAX_ID_BYTES} letters, digits, `.`, `_` and `-`, no `.` in front"),
        );
    }
    if scenario.version != 1 {
        return invalid("version", format!("{} is unknown; this program reads version 1", scenario.version));
    }
    if scenario.queries.len() > MAX_NAMES {
        return invalid("queries", format!("there are more than {MAX_NAMES}"));
    }
    tools(scenario)?;
    properties(scenario)?;
    script(scenario)
}

fn tools(scenario: &Scenario) -> Result<(), ScenarioError> {
    let expected = &scenario.expectations;
    let lists =
        [("must_use_tools", &expected.must_use_tools), ("must_not_use_tools", &expected.must_not_use_tools)];
    for (name, list) in lists {
        let field = format!("expectations.{name}");
        if list.len() > MAX_NAMES {
            return invalid(&field, format!("there are more than {MAX_NAMES}"));
        }
        let mut names = BTreeSet::new();
        if let Some(tool) = list.iter().find(|tool| !names.insert(*tool)) {
            return invalid(&field, format!("`{}` is there twice", tool.escape_debug()));
        }
        if let Some(tool) = list.iter().find(|tool| !is_name(tool, "_-.:/*")) {
            return invalid(&field, format!("`{}` is no name of a tool", tool.escape_debug()));
        }
    }
    if let Some(both) = expected.must_use_tools.iter().find(|tool| expected.must_not_use_tools.contains(tool))
    {
        return invalid("expectations", format!("`{both}` must be used and must not be used"));
    }
    Ok(())
}

fn properties(scenario: &Scenario) -> Result<(), ScenarioError> {
    let expected = &scenario.expectations;
    if expected.must_use_tools.is_empty()
        && expected.must_not_use_tools.is_empty()
        && expected.properties.is_empty()
    {
        return invalid("expectations", "nothing is expected, so nothing could be judged");
    }
    if expected.properties.len() > MAX_PROPERTIES {
        return invalid("expectations.properties", format!("there are more than {MAX_PROPERTIES}"));
    }
    let mut names = BTreeSet::new();
    for (place, property) in expected.properties.iter().enumerate() {
        let field = format!("expectations.properties[{place}]");
        if !is_name(&property.name, "._- ") {
            return invalid(&format!("{field}.name"), "letters, digits, `.`, `_`, `-` and spaces");
        }
        if !names.insert(&property.name) {
            return invalid(
                &format!("{field}.name"),
                format!("`{}` is the name of two properties", property.name),
            );
        }
        if property.constraint.trim().is_empty() {
            return invalid(&format!("{field}.constraint"), "it is empty, so nothing could be judged");
        }
    }
    match scenario.severity_policy.property_failures.keys().find(|name| !names.contains(name)) {
        Some(name) => invalid(
            "severity_policy.property_failures",
            format!("there is no property `{}`", name.escape_debug()),
        ),
        None => Ok(()),
    }
}

fn script(scenario: &Scenario) -> Result<(), ScenarioError> {
    for (place, step) in scenario.script.iter().enumerate() {
        let field = format!("script[{place}]");
        if step.call.is_empty() || step.call.len() > MAX_EXPRESSION_BYTES {
            return invalid(&format!("{field}.call"), "the name of a tool");
        }
        if step.for_each.len() > 1 {
            return invalid(&format!("{field}.for_each"), "one variable and its list");
        }
        if step.repeat.is_some() && !step.for_each.is_empty() {
            return invalid(&field, "`repeat` and `for_each` do not go together");
        }
        if step.repeat == Some(0) {
            return invalid(&format!("{field}.repeat"), "at least 1");
        }
        if let Some(name) = step.for_each.keys().chain(step.save.keys()).find(|name| !is_name(name, "_")) {
            return invalid(&field, format!("`{}` is no name of a variable", name.escape_debug()));
        }
    }
    Ok(())
}

/// Whether a text is a name of letters, digits and these signs.
pub(crate) fn is_name(text: &str, signs: &str) -> bool {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || signs.contains(letter);
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.chars().all(fits)
}

fn invalid(field: &str, message: impl Into<String>) -> Result<(), ScenarioError> {
    Err(ScenarioError::Invalid { field: field.to_owned(), message: message.into() })
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
