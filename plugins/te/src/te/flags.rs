//! The flags of `te`. They stand before the command; what comes after its first word is the command's.

use std::path::PathBuf;

use clap::Parser;

const EXIT_CODES: &str = "\
Exit codes are those of the command; 2 wrong usage; 124 time is over; 125 llmc gave no answer; 126 the command may not \
run.";

/// Runs a command through llmc and answers in few tokens.
#[derive(Parser)]
#[command(name = "te", version, after_help = EXIT_CODES)]
pub(crate) struct Flags {
    /// Output as it is: no header, no summary.
    #[arg(long, short = 'i')]
    pub(crate) raw: bool,
    /// Answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Read on in an answer that was cut.
    #[arg(long, value_name = "ID", conflicts_with = "command")]
    pub(crate) handle: Option<String>,
    /// Which part of it, from 1.
    #[arg(long, value_name = "N")]
    pub(crate) chunk: Option<u64>,
    /// List what can be read on.
    #[arg(long, conflicts_with = "command")]
    pub(crate) list_handles: bool,
    /// Show what was saved so far; also `te stats`.
    #[arg(long, conflicts_with = "command")]
    pub(crate) stats: bool,
    /// Directory to start in; the present one by default.
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<String>,
    /// Pass standard input on to the command.
    #[arg(long)]
    pub(crate) stdin: bool,
    /// Longest time in seconds.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u64>,
    /// Who reads the answer, which decides how much is shown; TE_AGENT_ID by default.
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Configuration of llmc; the operator's own by default.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The command and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

impl Flags {
    pub(crate) fn read() -> Self {
        Self::parse()
    }

    /// The reader's name, from the flag or the environment. It decides on nothing but the length of answers.
    pub(crate) fn agent(&self) -> Option<String> {
        let named = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
        self.agent.clone().or_else(|| named("LLMC_TE_AGENT_ID")).or_else(|| named("TE_AGENT_ID"))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Flags::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_the_command_alone() {
        let read = |line: &str| Flags::parse_from(["te"].into_iter().chain(line.split(' ')));
        for (line, command, raw) in [
            ("git --version", &["git", "--version"][..], false),
            ("--raw git --json --help", &["git", "--json", "--help"], true),
            ("grep --raw x", &["grep", "--raw", "x"], false),
            ("-i ls -i", &["ls", "-i"], true),
            ("grep -- -f /etc/passwd", &["grep", "--", "-f", "/etc/passwd"], false),
        ] {
            let flags = read(line);
            assert_eq!(
                (flags.command.as_slice(), flags.raw, flags.json),
                (&*own(command), raw, false),
                "{line}"
            );
        }
    }

    fn own(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }
}
