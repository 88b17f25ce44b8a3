//! How many tokens an answer may have, and what of a text fits.

use crate::limits::{MAX_TOKENS, MIN_TOKENS, UNKNOWN_TOKENS};
use crate::settings::Settings;
use crate::tokens::estimate;

/// Readers that are known by name, with their budgets in tokens.
const AGENTS: &[(&str, u32)] =
    &[("gemini-shell", 225_000), ("claude-dc", 45_000), ("human-cli", 12_500), ("qwen-local", 7_000)];

/// The budget of a reader.
pub(crate) fn tokens(agent: Option<&str>, settings: &Settings) -> usize {
    let known = |name: &str| {
        let own = settings.agents.get(name).copied();
        own.or_else(|| AGENTS.iter().find(|(known, _)| *known == name).map(|(_, tokens)| *tokens))
    };
    let tokens = agent.and_then(known).unwrap_or(UNKNOWN_TOKENS);
    tokens.clamp(MIN_TOKENS, MAX_TOKENS) as usize
}

/// A name for telemetry: of those that are known, or `unknown`. A caller chooses it, and could put anything there.
pub(crate) fn name<'a>(agent: Option<&'a str>, settings: &Settings) -> &'a str {
    let is_known =
        |name: &str| settings.agents.contains_key(name) || AGENTS.iter().any(|(known, _)| *known == name);
    agent.filter(|name| is_known(name)).unwrap_or("unknown")
}

/// Length of the beginning of a text that fits, in whole lines; of its first line at least a part.
pub(crate) fn head(text: &str, budget: usize) -> usize {
    let (mut end, mut left) = (0, budget);
    for line in text.split_inclusive('\n') {
        let cost = estimate(line);
        if cost > left {
            return if end == 0 { part(line, budget) } else { end };
        }
        left -= cost;
        end += line.len();
    }
    end
}

/// Where the end of a text begins that fits, in whole lines; of its last line at least a part.
pub(crate) fn tail(text: &str, budget: usize) -> usize {
    let (mut start, mut left) = (text.len(), budget);
    for line in text.split_inclusive('\n').rev() {
        let cost = estimate(line);
        if cost > left {
            let cut = line.len() - part(line, budget).min(line.len());
            return if start == text.len() {
                text.ceil_char_boundary(start - line.len() + cut)
            } else {
                start
            };
        }
        left -= cost;
        start -= line.len();
    }
    start
}

/// Length of the beginning of one long line that surely fits: no byte costs more than a token.
fn part(line: &str, budget: usize) -> usize {
    line.floor_char_boundary(budget.max(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_that_nobody_knows_get_little() {
        let settings = Settings { agents: [("mine".to_owned(), 9_000)].into(), ..Settings::default() };
        assert_eq!(tokens(None, &settings), 4_000);
        assert_eq!(tokens(Some("stranger"), &settings), 4_000);
        assert_eq!(tokens(Some("qwen-local"), &settings), 7_000);
        assert_eq!(tokens(Some("mine"), &settings), 9_000);
        assert_eq!((name(Some("mine"), &settings), name(Some("my secret"), &settings)), ("mine", "unknown"));
    }

    #[test]
    fn what_fits_is_whole_lines_from_either_end() {
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        for budget in [1, 10, 50, 299] {
            let (end, start) = (head(&text, budget), tail(&text, budget));
            assert!(text[..end].ends_with('\n') || budget == 1, "{budget}");
            assert!(text[..start].is_empty() || text[..start].ends_with('\n') || budget == 1, "{budget}");
            assert!(end < text.len() && start > 0, "{budget}");
        }
        assert_eq!((head(&text, 10_000), tail(&text, 10_000)), (text.len(), 0));
        // A line that is too long is cut, never left out, and never inside of a character.
        let long = "ä".repeat(5_000);
        assert!((1..=100).contains(&head(&long, 100)) && long.is_char_boundary(head(&long, 100)));
        assert!(tail(&long, 100) < long.len() && long.is_char_boundary(tail(&long, 100)));
    }
}
