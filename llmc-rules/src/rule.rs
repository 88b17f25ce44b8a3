//! What was decided, and by which rule.

use std::fmt;

/// What is decided about a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// No rule refuses it.
    Allowed,
    /// A rule refuses it.
    Refused(Box<Refusal>),
}

/// A refusal: the first, where several arguments would be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule that decided.
    pub rule: Rule,
    /// The argument, counted from 0 after the program's name; the number of all when something is missing.
    pub index: usize,
    /// The argument itself.
    pub arg: String,
    /// What the refused thing does.
    pub why: String,
    /// What would allow it.
    pub allow: Allow,
}

/// A rule by its place in a rule set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What kind it is.
    pub kind: RuleKind,
    /// The program and the subcommand that it holds for, such as `git log`; the program alone if it holds for all.
    pub command: String,
    /// The flag, subcommand, pattern or number in it.
    pub item: String,
}

/// Kinds of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// A flag is refused.
    DenyFlag,
    /// A value of a flag is refused.
    DenyValue,
    /// An operand is refused.
    DenyOperand,
    /// Only known flags stand before a subcommand.
    KnownFlagsFirst,
    /// Only listed subcommands.
    AllowSubcommands,
    /// A path lies inside the granted directories.
    Path,
    /// At most so many arguments.
    MaxArgs,
    /// At most so many operands.
    MaxOperands,
}

impl RuleKind {
    /// Its name, as it stands in refusals.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DenyFlag => "deny_flags",
            Self::DenyValue => "deny_values",
            Self::DenyOperand => "deny_operands",
            Self::KnownFlagsFirst => "known_flags_first",
            Self::AllowSubcommands => "allow_subcommands",
            Self::Path => "paths",
            Self::MaxArgs => "max_args",
            Self::MaxOperands => "max_operands",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}: {}", self.kind.as_str(), self.command, self.item)
    }
}

/// What an operator would write to allow something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// An entry of `allow_flags`.
    Flag(String),
    /// An entry of `allow_subcommands`.
    Subcommand(String),
    /// A higher `max_args`.
    MaxArgs(usize),
    /// An entry of `read`.
    Read(String),
    /// No single rule: the set would have to be switched off.
    NoRules,
}
