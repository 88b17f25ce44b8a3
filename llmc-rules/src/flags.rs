//! What an argument that begins with a dash is: a denied flag, a known one, or one that no table knows.

use crate::set::{Command, Dashes, Deny, RuleSet, Syntax, Takes};

/// What a flag turned out to be.
#[derive(Clone, Debug)]
pub(crate) enum Seen<'a> {
    /// Refused, by this entry.
    Denied { flag: &'a str, deny: &'a Deny, everywhere: bool },
    /// Known, with what it takes and the value that is glued to it. In a cluster, the last letter.
    Known { flag: String, takes: Takes, glued: Option<&'a str> },
    /// In no table: whether it takes the next argument is not known.
    Unknown { glued: bool },
}

/// The tables that hold at a place of the command line: of the subcommand first, then of all.
pub(crate) struct Tables<'a> {
    pub(crate) own: &'a Command,
    pub(crate) everywhere: &'a Command,
    pub(crate) syntax: &'a Syntax,
}

impl<'a> Tables<'a> {
    pub(crate) fn new(set: &'a RuleSet, own: &'a Command) -> Self {
        Self { own, everywhere: &set.everywhere, syntax: &set.syntax }
    }

    /// Reads an argument that [`is_flag`].
    pub(crate) fn see(&self, arg: &'a str) -> Seen<'a> {
        match self.syntax.dashes {
            Dashes::Two if arg.starts_with("--") => self.see_long(arg),
            Dashes::Two => self.see_short(arg),
            Dashes::One => self.see_word(arg, None),
            Dashes::Any => self.see_any(arg),
        }
    }

    /// `--flag` or `--flag=value`.
    fn see_long(&self, arg: &'a str) -> Seen<'a> {
        let (name, glued) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (arg, None),
        };
        self.see_word(name, glued)
    }

    /// A flag that is a word: as it stands, or shortened.
    fn see_word(&self, name: &'a str, glued: Option<&'a str>) -> Seen<'a> {
        if let Some(seen) = self.exact(name, glued) {
            return seen;
        }
        let shortened = || self.denials().find(|(_, _, flag)| self.is_shortened(name, flag));
        let Some((deny, everywhere, flag)) = shortened().filter(|_| self.syntax.abbreviations) else {
            return Seen::Unknown { glued: glued.is_some() };
        };
        match self.known(self.own, flag).filter(|_| everywhere) {
            Some((flag, takes)) => Seen::Known { flag: flag.to_owned(), takes, glued },
            None => Seen::Denied { flag, deny, everywhere },
        }
    }

    /// What the nearest table that has a flag says of it.
    fn exact(&self, name: &str, glued: Option<&'a str>) -> Option<Seen<'a>> {
        for (table, everywhere) in [(self.own, false), (self.everywhere, true)] {
            let denied = |deny: &'a Deny| Some((deny, deny.flags.iter().find(|flag| self.same(name, flag))?));
            if let Some((deny, flag)) = table.deny.iter().find_map(denied) {
                return Some(Seen::Denied { flag, deny, everywhere });
            }
            if let Some((flag, takes)) = self.known(table, name) {
                return Some(Seen::Known { flag: flag.to_owned(), takes, glued });
            }
        }
        None
    }

    fn known(&self, table: &'a Command, name: &str) -> Option<(&'a str, Takes)> {
        let lists = [
            (&table.switches, Takes::Nothing),
            (&table.alone, Takes::Nothing),
            (&table.values, Takes::Value),
            (&table.optional, Takes::Glued),
            (&table.paths, Takes::Path),
            (&table.allowed, Takes::Unsaid),
        ];
        lists.into_iter().find_map(|(list, takes)| {
            list.iter().find(|flag| self.same(name, flag)).map(|flag| (flag, takes))
        })
    }

    /// Every denied flag here.
    fn denials(&self) -> impl Iterator<Item = (&'a Deny, bool, &'a str)> {
        let (own, everywhere) = (&self.own.deny, &self.everywhere.deny);
        let both = own.iter().map(|deny| (deny, false)).chain(everywhere.iter().map(|deny| (deny, true)));
        both.flat_map(|(deny, is_everywhere)| deny.flags.iter().map(move |flag| (deny, is_everywhere, flag)))
    }

    /// Whether two names are one flag.
    fn same(&self, name: &str, flag: &str) -> bool {
        match self.syntax.dashes {
            Dashes::Two => name == flag,
            Dashes::One | Dashes::Any => self.bare(name) == self.bare(flag),
        }
    }

    /// Whether a name is the beginning of a long flag. One that fits several flags is an error to every program, so
    /// it does not matter what else it could mean.
    fn is_shortened(&self, name: &str, flag: &str) -> bool {
        let is_long = self.bare(flag).chars().count() > 1
            && (self.syntax.dashes != Dashes::Two || flag.starts_with("--"));
        is_long && self.bare(flag).starts_with(self.bare(name))
    }

    fn bare<'b>(&self, flag: &'b str) -> &'b str {
        let mut bare = flag.trim_start_matches('-');
        // npm: any number of `no-`, in any letter case.
        while self.syntax.dashes == Dashes::Any
            && let Some((no, rest)) = bare.split_at_checked(3)
            && no.eq_ignore_ascii_case("no-")
        {
            bare = rest;
        }
        bare
    }

    /// `-x`, `-xvalue` or `-abc`.
    fn see_short(&self, arg: &'a str) -> Seen<'a> {
        let mut seen = Seen::Unknown { glued: false };
        for (at, letter) in arg.char_indices().skip(1) {
            let rest = &arg[at + letter.len_utf8()..];
            let glued = (!rest.is_empty()).then_some(rest);
            match self.exact(&format!("-{letter}"), glued) {
                Some(Seen::Known { takes: Takes::Nothing, flag, .. }) => {
                    seen = Seen::Known { flag, takes: Takes::Nothing, glued: None };
                }
                Some(found) => return found,
                // It may take the rest, or not: what follows is looked at, too.
                None => seen = Seen::Unknown { glued: !rest.is_empty() },
            }
            if !self.syntax.clusters {
                break;
            }
        }
        seen
    }

    /// A word after any number of dashes, or a cluster of letters.
    fn see_any(&self, arg: &'a str) -> Seen<'a> {
        let word = self.see_long(arg);
        if !matches!(word, Seen::Unknown { .. }) || arg.starts_with("--") {
            return word;
        }
        match self.see_short(arg) {
            denied @ Seen::Denied { .. } => denied,
            _ => word,
        }
    }
}

/// Whether an argument is a flag to a program: `-` alone is not.
pub(crate) fn is_flag(arg: &str) -> bool {
    arg.len() > 1 && arg.starts_with('-')
}
