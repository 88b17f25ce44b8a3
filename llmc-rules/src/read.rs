//! Reads a command line by a rule set.

use std::borrow::Cow;

use crate::flags::{Seen, Tables, is_flag};
use crate::pattern::fits;
use crate::place::Place;
use crate::rule::{Allow, Decision, Refusal, Rule, RuleKind};
use crate::set::{Command, Dashes, Operands, RuleSet, Takes};

/// How a command line is read, and what is decided about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// A reading for each argument, up to the number that the set allows.
    pub readings: Vec<Reading>,
    /// What is decided.
    pub decision: Decision,
}

/// How one argument is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The argument.
    pub arg: String,
    /// What it is.
    pub role: Role,
}

/// What an argument is to the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A flag before the subcommand.
    GlobalFlag,
    /// The subcommand, or one below it.
    Subcommand,
    /// A flag that the tables know.
    Flag,
    /// A flag that no table knows; it may take the next argument.
    UnknownFlag,
    /// The value of this flag.
    Value(String),
    /// An operand.
    Operand,
    /// `--`, which ends the flags.
    DoubleDash,
    /// `--` after a flag that may take it as its value, so that flags after it are still looked at.
    DoubtfulDoubleDash,
    /// An operand after `--`.
    AfterDoubleDash,
}

impl Role {
    /// In words, for the reader.
    pub fn describe(&self) -> String {
        match self {
            Self::GlobalFlag => "flag before the subcommand".into(),
            Self::Subcommand => "subcommand".into(),
            Self::Flag => "flag".into(),
            Self::UnknownFlag => "flag that the rules do not name".into(),
            Self::Value(flag) => format!("value of `{flag}`"),
            Self::Operand => "operand".into(),
            Self::DoubleDash => "end of flags".into(),
            Self::DoubtfulDoubleDash => "end of flags, or value of the flag before it".into(),
            Self::AfterDoubleDash => "operand after `--`".into(),
        }
    }
}

impl RuleSet {
    /// Reads the arguments after the program's name. Takes time in proportion to their number and to the set's size.
    pub fn explain(&self, args: &[impl AsRef<str>], place: &Place) -> Explanation {
        let mut reader = Reader::new(self, place);
        for arg in args.iter().take(self.max_args) {
            reader.read(arg.as_ref());
        }
        reader.finish(args.len())
    }

    /// What is decided about the arguments after the program's name.
    pub fn decide(&self, args: &[impl AsRef<str>], place: &Place) -> Decision {
        self.explain(args, place).decision
    }
}

/// A value that is a path.
struct PathValue {
    index: usize,
    flag: String,
    path: String,
    /// How many subcommands came before it.
    depth: usize,
}

struct Reader<'a> {
    set: &'a RuleSet,
    /// Where paths count from; a flag may have moved it.
    place: Cow<'a, Place>,
    /// The rules of the innermost subcommand so far.
    command: &'a Command,
    /// The subcommands so far.
    path: Vec<String>,
    /// Whether the subcommand of `command` is still to come.
    is_open: bool,
    /// Whether a flag came that needs no subcommand.
    is_alone: bool,
    /// The flag that takes the next argument, and what it takes.
    pending: Option<(String, Takes)>,
    /// Whether the argument before is a flag that may or may not take the next one.
    is_doubtful: bool,
    /// Whether everything that follows is an operand.
    is_over: bool,
    /// Whether a flag of `text_flags` came.
    has_text: bool,
    /// Operands of the innermost subcommand by index.
    operands: Vec<usize>,
    /// Values that are paths. A change of directory that comes later counts for them, too.
    paths: Vec<PathValue>,
    readings: Vec<Reading>,
    refused: Option<Box<Refusal>>,
}

impl<'a> Reader<'a> {
    fn new(set: &'a RuleSet, place: &'a Place) -> Self {
        Self {
            set,
            place: Cow::Borrowed(place),
            command: &set.top,
            path: Vec::new(),
            is_open: set.top.has_subcommands(),
            is_alone: false,
            pending: None,
            is_doubtful: false,
            is_over: false,
            has_text: false,
            operands: Vec::new(),
            paths: Vec::new(),
            readings: Vec::new(),
            refused: None,
        }
    }

    fn read(&mut self, arg: &str) {
        let was_doubtful = std::mem::take(&mut self.is_doubtful);
        let role = if self.is_over {
            self.operand(arg, Role::AfterDoubleDash)
        } else if let Some((flag, takes)) = self.pending.take() {
            self.check_denied(arg);
            self.value(&flag, takes, arg)
        } else if arg == "--" && self.set.syntax.double_dash {
            self.is_over = !was_doubtful;
            if was_doubtful { Role::DoubtfulDoubleDash } else { Role::DoubleDash }
        } else if is_flag(arg) {
            self.flag(arg)
        } else {
            self.is_over = !self.set.syntax.permutes && !self.is_open;
            self.operand(arg, Role::Operand)
        };
        self.readings.push(Reading { arg: arg.to_owned(), role });
    }

    fn finish(mut self, count: usize) -> Explanation {
        self.check_operands();
        let missing = self.is_open && self.command.needs_subcommand && !self.is_alone;
        if missing && self.refused.is_none() {
            self.refuse_at(
                self.readings.len(),
                "",
                (RuleKind::AllowSubcommands, false, "a subcommand is needed"),
                &match &self.command.selected_by {
                    Some(flag) => format!("without `{flag}` it takes its program from elsewhere"),
                    None => "without a subcommand the rules cannot tell what it would do".to_owned(),
                },
                Allow::NoRules,
            );
        }
        self.check_paths();
        // Whatever else is wrong, what was not read decides nothing.
        if count > self.set.max_args {
            self.refused = None;
            let why = format!("{count} arguments are more than this program is given");
            let item = self.set.max_args.to_string();
            self.refuse_at(
                self.set.max_args,
                "",
                (RuleKind::MaxArgs, true, &item),
                &why,
                Allow::MaxArgs(count),
            );
        }
        let decision = self.refused.map_or(Decision::Allowed, Decision::Refused);
        Explanation { readings: self.readings, decision }
    }

    fn tables(&self) -> Tables<'a> {
        Tables::new(self.set, self.command)
    }

    fn flag(&mut self, arg: &str) -> Role {
        self.check_denied(arg);
        let before_subcommand = self.is_open && self.command.is_strict();
        let role = if before_subcommand { Role::GlobalFlag } else { Role::Flag };
        match self.tables().see(arg) {
            Seen::Denied { .. } => role,
            Seen::Unknown { .. } if before_subcommand => {
                let flag = name_of(arg);
                self.refuse(
                    arg,
                    (RuleKind::KnownFlagsFirst, false, flag),
                    "the rules do not know this flag, so it could hide which subcommand is meant; \
                     flags of a subcommand stand after it",
                    Allow::Flag(self.entry(flag)),
                );
                Role::UnknownFlag
            }
            Seen::Unknown { glued } => {
                self.is_doubtful = !glued;
                Role::UnknownFlag
            }
            Seen::Known { flag, takes, glued } => {
                self.known_flag(&flag, takes, glued);
                role
            }
        }
    }

    fn known_flag(&mut self, flag: &str, takes: Takes, glued: Option<&str>) {
        self.is_alone |= self.command.alone.has(flag);
        self.has_text |= self.command.text_flags.has(flag);
        match (takes, glued) {
            (Takes::Value | Takes::Path, None) => self.pending = Some((flag.to_owned(), takes)),
            (Takes::Unsaid, None) => self.is_doubtful = true,
            (_, Some(glued)) => {
                // npm looks at a value again when the flag takes none.
                if self.set.syntax.dashes == Dashes::Any && is_flag(glued) {
                    self.check_denied(glued);
                }
                self.value(flag, takes, glued);
            }
            (Takes::Nothing | Takes::Glued, None) => {}
        }
    }

    /// A value of a known flag.
    fn value(&mut self, flag: &str, takes: Takes, value: &str) -> Role {
        for table in [self.command, &self.set.everywhere] {
            for deny in table.deny_values.iter().filter(|deny| deny.flags.has(flag)) {
                if let Some(pattern) = deny.patterns.iter().find(|pattern| fits(pattern, value)) {
                    let item = format!("{flag} {pattern}");
                    self.refuse(value, (RuleKind::DenyValue, false, &item), &deny.why, Allow::NoRules);
                }
            }
        }
        if self.is_open && self.command.selected_by.as_deref() == Some(flag) {
            self.enter(value);
            return Role::Subcommand;
        }
        let (index, depth) = (self.readings.len(), self.path.len());
        if self.command.chdir.has(flag) || self.set.everywhere.chdir.has(flag) {
            self.confine(index, value, flag);
            self.place = Cow::Owned(self.place.moved(value));
        } else if takes == Takes::Path {
            self.paths.push(PathValue { index, flag: flag.to_owned(), path: value.to_owned(), depth });
        }
        Role::Value(flag.to_owned())
    }

    /// An operand, which may be a subcommand.
    fn operand(&mut self, arg: &str, role: Role) -> Role {
        self.check_operand(arg);
        if self.is_open && self.command.selected_by.is_none() {
            if !self.command.other_operands || self.command.commands.contains_key(arg) {
                self.enter(arg);
                return Role::Subcommand;
            }
            self.is_open = false;
        }
        self.operands.push(self.readings.len());
        role
    }

    /// Goes on with a subcommand, or refuses it.
    fn enter(&mut self, name: &str) {
        match self.command.commands.get(name) {
            Some(command) => self.command = command,
            None => {
                let why = self.command.deny_subcommands.get(name);
                let why = why.map_or("it is none of the subcommands that the rules allow", String::as_str);
                let allow = Allow::Subcommand(self.entry(name));
                self.refuse(name, (RuleKind::AllowSubcommands, false, name), why, allow);
                self.command = &self.set.everywhere;
            }
        }
        self.path.push(name.to_owned());
        self.is_open = self.command.has_subcommands();
        self.operands.clear();
    }

    /// Refuses what looks like a denied flag, wherever it stands.
    fn check_denied(&mut self, arg: &str) {
        // `--` itself would be the beginning of every long flag.
        if is_flag(arg)
            && arg != "--"
            && let Seen::Denied { flag, deny, everywhere } = self.tables().see(arg)
        {
            let allow = match deny.ends_rules {
                true => Allow::NoRules,
                false => Allow::Flag(self.entry(flag)),
            };
            self.refuse(arg, (RuleKind::DenyFlag, everywhere, flag), &deny.why, allow);
        }
    }

    fn check_operand(&mut self, arg: &str) {
        for (table, everywhere) in [(self.command, false), (&self.set.everywhere, true)] {
            for deny in &table.deny_operands {
                if let Some(pattern) = deny.patterns.iter().find(|pattern| fits(pattern, arg.trim_start())) {
                    self.refuse(arg, (RuleKind::DenyOperand, everywhere, pattern), &deny.why, Allow::NoRules);
                }
            }
            for deny in &table.deny_assignments {
                if let Some(name) = assigned(arg).filter(|name| deny.names.has(name)) {
                    self.refuse(arg, (RuleKind::DenyOperand, everywhere, name), &deny.why, Allow::NoRules);
                }
            }
        }
    }

    /// What can only be said of operands when all flags are known.
    fn check_operands(&mut self) {
        let skipped = usize::from(self.command.first_is_text && !self.has_text);
        let operands: Vec<usize> = self.operands.iter().copied().skip(skipped).collect();
        let kind = self.command.operands.or(self.set.everywhere.operands).unwrap_or_default();
        if kind == Operands::Paths {
            for &index in &operands {
                let path = self.readings[index].arg.clone();
                self.confine(index, &path, "operands");
            }
        }
        if let Some(max) = self.command.max_operands
            && let Some(&index) = self.operands.get(max)
        {
            let arg = self.readings[index].arg.clone();
            let why = format!("with more than {max} operands it does more than it is allowed to");
            self.refuse_at(
                index,
                &arg,
                (RuleKind::MaxOperands, false, &max.to_string()),
                &why,
                Allow::NoRules,
            );
        }
    }

    /// Paths of flags, the last first: a rule is named by the subcommands that came before its flag.
    fn check_paths(&mut self) {
        while let Some(PathValue { index, flag, path, depth }) = self.paths.pop() {
            self.path.truncate(depth);
            self.confine(index, &path, &flag);
        }
    }

    fn confine(&mut self, index: usize, path: &str, what: &str) {
        let is_stdin = path == "-";
        if !is_stdin && let Err(meant) = self.place.confine(path) {
            let why = format!("`{}` lies outside the granted directories", shortened(&meant));
            let allow = match meant.matches('/').count() > 1 {
                true => Allow::Read(meant),
                false => Allow::NoRules,
            };
            self.refuse_at(index, path, (RuleKind::Path, false, what), &why, allow);
        }
    }

    fn refuse(&mut self, arg: &str, rule: (RuleKind, bool, &str), why: &str, allow: Allow) {
        self.refuse_at(self.readings.len(), arg, rule, why, allow);
    }

    /// Keeps the refusal of the first argument that is refused.
    fn refuse_at(
        &mut self,
        index: usize,
        arg: &str,
        (kind, everywhere, item): (RuleKind, bool, &str),
        why: &str,
        allow: Allow,
    ) {
        if self.refused.as_ref().is_some_and(|refused| refused.index <= index) {
            return;
        }
        let mut command = self.set.name().to_owned();
        if !everywhere {
            self.path.iter().for_each(|name| command = format!("{command} {name}"));
        }
        let rule = Rule { kind, command, item: item.to_owned() };
        self.refused =
            Some(Box::new(Refusal { rule, index, arg: arg.to_owned(), why: why.to_owned(), allow }));
    }

    /// An entry of the operator's lists: subcommands, then a flag or a subcommand.
    fn entry(&self, item: &str) -> String {
        let mut entry = self.path.join(" ");
        if !entry.is_empty() {
            entry.push(' ');
        }
        entry + item
    }
}

/// A flag without its value.
fn name_of(arg: &str) -> &str {
    arg.split_once('=').map_or(arg, |(name, _)| name)
}

/// The variable that an operand sets, as make reads it: `NAME=value`, `NAME := value`, `NAME+=value`.
fn assigned(arg: &str) -> Option<&str> {
    let (name, _) = arg.split_once('=')?;
    Some(name.trim_end_matches([':', '+', '?', '!']).trim())
}

/// A path as it may stand in a refusal.
fn shortened(path: &str) -> String {
    const MOST: usize = 200;
    match path.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", path[..at].escape_debug()),
        None => path.escape_debug().to_string(),
    }
}
