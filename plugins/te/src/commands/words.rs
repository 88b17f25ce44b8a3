//! Reads arguments as GNU programs do: clusters, glued values, `--name=value`, `--`.

/// Options that are understood.
pub(super) struct Spec {
    /// Letters of flags.
    pub(super) flags: &'static str,
    /// Letters of options with a value.
    pub(super) valued: &'static str,
    pub(super) long_flags: &'static [&'static str],
    pub(super) long_valued: &'static [&'static str],
}

/// What an argument means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word<'a> {
    Flag(char),
    Value(char, &'a str),
    LongFlag(&'a str),
    LongValue(&'a str, &'a str),
    /// A number as an option, `-5`.
    Number(u32),
    Plain(&'a str),
    /// Begins with `-` and is no option of the specification.
    Unknown(&'a str),
}

impl Spec {
    /// All words in their order.
    pub(super) fn read<'a>(&self, arguments: &[&'a str]) -> Vec<Word<'a>> {
        let mut words = Vec::new();
        let mut rest = arguments.iter().copied();
        while let Some(argument) = rest.next() {
            match argument {
                "--" => words.extend(rest.by_ref().map(Word::Plain)),
                "-" => words.push(Word::Plain(argument)),
                _ if argument.starts_with("--") => words.push(self.long(argument, &mut rest)),
                _ if argument.starts_with('-') => self.cluster(argument, &mut rest, &mut words),
                _ => words.push(Word::Plain(argument)),
            }
        }
        words
    }

    fn long<'a>(&self, argument: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> Word<'a> {
        let (name, glued) = match argument[2..].split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (&argument[2..], None),
        };
        if self.long_valued.contains(&name) {
            return glued
                .or_else(|| rest.next())
                .map_or(Word::Unknown(argument), |value| Word::LongValue(name, value));
        }
        let is_flag = glued.is_none() && self.long_flags.contains(&name);
        if is_flag { Word::LongFlag(name) } else { Word::Unknown(argument) }
    }

    fn cluster<'a>(
        &self,
        argument: &'a str,
        rest: &mut impl Iterator<Item = &'a str>,
        words: &mut Vec<Word<'a>>,
    ) {
        let letters = &argument[1..];
        if let Ok(number) = letters.parse() {
            return words.push(Word::Number(number));
        }
        let mut read = Vec::new();
        for (at, letter) in letters.char_indices() {
            if self.flags.contains(letter) {
                read.push(Word::Flag(letter));
            } else if self.valued.contains(letter) {
                let glued = &letters[at + letter.len_utf8()..];
                let value = if glued.is_empty() { rest.next() } else { Some(glued) };
                read.push(value.map_or(Word::Unknown(argument), |value| Word::Value(letter, value)));
                break;
            } else {
                return words.push(Word::Unknown(argument));
            }
        }
        words.extend(read);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: Spec = Spec { flags: "rn", valued: "eA", long_flags: &["hidden"], long_valued: &["include"] };

    #[test]
    fn options_are_read_in_every_spelling() {
        for (line, expected) in [
            ("-rn x", vec![Word::Flag('r'), Word::Flag('n'), Word::Plain("x")]),
            ("-rnex y", vec![Word::Flag('r'), Word::Flag('n'), Word::Value('e', "x"), Word::Plain("y")]),
            ("-e -x", vec![Word::Value('e', "-x")]),
            ("-A3 -5", vec![Word::Value('A', "3"), Word::Number(5)]),
            (
                "--include=*.rs --include a",
                vec![Word::LongValue("include", "*.rs"), Word::LongValue("include", "a")],
            ),
            ("--hidden --hidden=1", vec![Word::LongFlag("hidden"), Word::Unknown("--hidden=1")]),
            ("-- -r --hidden --", vec![Word::Plain("-r"), Word::Plain("--hidden"), Word::Plain("--")]),
            ("-rx - -e", vec![Word::Unknown("-rx"), Word::Plain("-"), Word::Unknown("-e")]),
        ] {
            assert_eq!(SPEC.read(&line.split(' ').collect::<Vec<_>>()), expected, "{line}");
        }
    }
}
