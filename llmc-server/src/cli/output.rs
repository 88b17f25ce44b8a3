//! What commands print: text for people, JSON for programs, colour on a terminal only.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::print;

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Flags of every command that prints something to read.
#[derive(Args)]
pub(super) struct Output {
    /// Form of the output.
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    format: Format,
    /// Short for `--format json`.
    #[arg(long)]
    json: bool,
}

impl Output {
    pub(super) fn is_json(&self) -> bool {
        self.json || self.format == Format::Json
    }

    /// Prints one of the two.
    pub(super) fn print(&self, json: &Value, text: &str) -> anyhow::Result<()> {
        if self.is_json() { print(&format!("{json:#}\n")) } else { print(text) }
    }
}

/// Colours, if a person looks at stdout and did not say no: <https://no-color.org>.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    pub(super) fn for_stdout() -> Self {
        let said_no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self(std::io::stdout().is_terminal() && !said_no && !is_dumb)
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.with("1", text)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub(super) fn warning(self, text: &str) -> String {
        self.with("33", text)
    }

    /// A diff, by the first character of each line.
    pub(super) fn diff(self, text: &str) -> String {
        let line = |line: &str| match line.trim_start().chars().next() {
            Some('-') => self.bad(line),
            Some('+') => self.good(line),
            _ => line.to_owned(),
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// SGR, see console_codes(4).
    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_added_for_terminals_only() {
        assert_eq!(Paint(false).diff("a\n  - b\n+ c"), "a\n  - b\n+ c");
        assert_eq!(Paint(true).diff("a\n  - b\n+ c"), "a\n\x1b[31m  - b\x1b[0m\n\x1b[32m+ c\x1b[0m");
    }
}
