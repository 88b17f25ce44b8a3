//! What an operator changes in a rule set.

use crate::set::{Command, Deny, RuleSet, Takes, Words};

/// Stands for the subcommands of the shipped set in `allow_subcommands`.
const SHIPPED_ONES: &str = "default";

/// Changes to a rule set. A flag may have its subcommand before it, as in `push --force`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Further flags that are refused; these win over everything.
    pub deny_flags: Vec<String>,
    /// Flags that are not refused any more. One without a subcommand is a flag before the subcommand, or one that is
    /// refused in all subcommands.
    pub allow_flags: Vec<String>,
    /// The subcommands that are allowed, in place of the shipped ones; `default` stands for these.
    pub allow_subcommands: Option<Vec<String>>,
    /// Most arguments.
    pub max_args: Option<usize>,
}

impl RuleSet {
    /// The set with these changes.
    ///
    /// # Errors
    ///
    /// An entry that cannot mean anything, in words: no flag, or a subcommand that is not allowed anyway.
    pub fn changed(mut self, changes: &Changes) -> Result<Self, String> {
        if let Some(subcommands) = &changes.allow_subcommands {
            self.allow_subcommands(subcommands)?;
        }
        for entry in &changes.allow_flags {
            let (path, flag) = split(entry).ok_or_else(|| no_flag("allow_flags", entry))?;
            match path.is_empty() {
                true => self.allow_everywhere(flag),
                false => self.allow_in(&path, flag)?,
            }
        }
        for entry in &changes.deny_flags {
            let (path, flag) = split(entry).ok_or_else(|| no_flag("deny_flags", entry))?;
            match path.is_empty() {
                true => self.deny_everywhere(flag),
                false => self.command_mut(&path)?.deny_here(flag),
            }
        }
        self.max_args = changes.max_args.unwrap_or(self.max_args);
        Ok(self)
    }

    fn allow_subcommands(&mut self, entries: &[String]) -> Result<(), String> {
        if !entries.iter().any(|entry| entry == SHIPPED_ONES) {
            let first_words: Vec<_> =
                entries.iter().filter_map(|entry| entry.split_whitespace().next()).collect();
            self.top.commands.retain(|name, _| first_words.contains(&name.as_str()));
        }
        for entry in entries.iter().filter(|entry| *entry != SHIPPED_ONES) {
            if entry.split_whitespace().next().is_none_or(|word| word.starts_with('-')) {
                return Err(format!("allow_subcommands: `{entry}` is no subcommand"));
            }
            let mut command = &mut self.top;
            for word in entry.split_whitespace() {
                command.deny_subcommands.remove(word);
                command = command.commands.entry(word.to_owned()).or_default();
            }
        }
        Ok(())
    }

    fn allow_everywhere(&mut self, flag: &str) {
        let mut is_known = false;
        for command in [&mut self.everywhere, &mut self.top] {
            if let Some(takes) = command.stop_denying(flag) {
                command.know(flag, takes);
                is_known = true;
            }
        }
        if !is_known {
            self.everywhere.know(flag, Takes::Unsaid);
        }
    }

    fn allow_in(&mut self, path: &[&str], flag: &str) -> Result<(), String> {
        let takes = self.everywhere.denied(flag).map_or(Takes::Unsaid, |deny| deny.takes);
        let command = self.command_mut(path)?;
        let takes = command.stop_denying(flag).unwrap_or(takes);
        command.know(flag, takes);
        Ok(())
    }

    fn deny_everywhere(&mut self, flag: &str) {
        self.top.forget(flag);
        self.everywhere.deny_here(flag);
    }

    fn command_mut(&mut self, path: &[&str]) -> Result<&mut Command, String> {
        let mut command = &mut self.top;
        for word in path {
            command = command
                .commands
                .get_mut(*word)
                .ok_or_else(|| format!("`{}` is no subcommand that is allowed", path.join(" ")))?;
        }
        Ok(command)
    }
}

impl Command {
    fn denied(&self, flag: &str) -> Option<&Deny> {
        self.deny.iter().find(|deny| deny.flags.has(flag))
    }

    /// Takes a flag out of what is denied here, and tells what it takes.
    fn stop_denying(&mut self, flag: &str) -> Option<Takes> {
        let takes = self.denied(flag)?.takes;
        self.deny.iter_mut().for_each(|deny| deny.flags.0.retain(|denied| denied != flag));
        Some(takes)
    }

    fn know(&mut self, flag: &str, takes: Takes) {
        let list = match takes {
            Takes::Unsaid => &mut self.allowed,
            Takes::Nothing => &mut self.switches,
            Takes::Value => &mut self.values,
            Takes::Glued => &mut self.optional,
            Takes::Path => &mut self.paths,
        };
        list.0.push(flag.to_owned());
    }

    fn deny_here(&mut self, flag: &str) {
        self.forget(flag);
        let why = "the operator refuses it".to_owned();
        let flags = Words(vec![flag.to_owned()]);
        self.deny.push(Deny { flags, takes: Takes::Unsaid, ends_rules: false, why });
    }

    /// Takes a flag out of what is known, here and below, so that what is said of it elsewhere holds.
    fn forget(&mut self, flag: &str) {
        let lists = [
            &mut self.switches,
            &mut self.values,
            &mut self.optional,
            &mut self.paths,
            &mut self.allowed,
            &mut self.alone,
        ];
        lists.into_iter().for_each(|list| list.0.retain(|known| known != flag));
        self.commands.values_mut().for_each(|command| command.forget(flag));
    }
}

/// The subcommands before a flag, and the flag.
fn split(entry: &str) -> Option<(Vec<&str>, &str)> {
    let mut words: Vec<&str> = entry.split_whitespace().collect();
    let flag = words.pop().filter(|flag| flag.len() > 1 && flag.starts_with('-') && !flag.contains('='))?;
    (flag != "--" && !words.iter().any(|word| word.starts_with('-'))).then_some((words, flag))
}

fn no_flag(key: &str, entry: &str) -> String {
    format!(
        "{key}: `{entry}` is no flag; write it as in `--output`, or with its subcommand as in `push --force`"
    )
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
