//! What a terminal shows, without what differs from one run to the next: places, times, digests, who it was.

use std::path::Path;

/// Stand-ins for digests, so that different ones stay different.
const DIGESTS: [&str; 8] =
    ["9763a915…", "5d0cc9e1…", "c441f407…", "0b8e6f2d…", "e27a94c3…", "61fd30b8…", "a85c17e4…", "3e92d6f0…"];

/// Shortest run of hexadecimal digits that is a digest, a key or a handle.
const DIGEST_DIGITS: usize = 32;

const TIME: &str = "2026-07-28T09:00:00Z";

/// Lines that cargo prints while it builds.
const CARGO: [&str; 9] = [
    "Compiling",
    "Finished",
    "Locking",
    "Adding",
    "Updating",
    "Blocking",
    "Checking",
    "Running",
    "Doc-tests",
];

/// Puts everything in its stand-in's place, the same one within a transcript.
pub(crate) struct Terminal {
    places: [(String, &'static str); 3],
    digests: Vec<String>,
}

impl Terminal {
    /// `docs` is where an installation has the documents.
    pub(crate) fn new(home: &Path, stage: &Path, docs: &Path) -> Self {
        let docs = (docs.display().to_string(), "/opt/llmc/share/doc/llmc/docs");
        let places =
            [docs, (stage.display().to_string(), "/opt/llmc"), (home.display().to_string(), "/home/ada")];
        Self { places, digests: Vec::new() }
    }

    /// What is entered, with the places that there are.
    pub(crate) fn here(&self, entered: &str) -> String {
        self.places.iter().fold(entered.to_owned(), |text, (place, stand_in)| text.replace(stand_in, place))
    }

    /// The output of a command.
    pub(crate) fn shown(&mut self, output: &str) -> String {
        let mut text = output.to_owned();
        for (place, stand_in) in &self.places {
            text = text.replace(place, stand_in);
        }
        let is_cargo =
            |line: &&str| CARGO.iter().any(|word| line.trim_start().split(' ').next() == Some(word));
        let lines = text.lines().filter(|line| !is_cargo(line));
        lines.map(|line| format!("{}\n", self.line(line))).collect()
    }

    fn line(&mut self, line: &str) -> String {
        let mut shown = String::new();
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let begins = !shown.ends_with(|last: char| last.is_ascii_alphanumeric());
            let (text, length) = match rest {
                _ if !begins => (first.to_string(), first.len_utf8()),
                rest => self.stand_in(rest).unwrap_or((first.to_string(), first.len_utf8())),
            };
            shown.push_str(&text);
            rest = &rest[length..];
        }
        with_user(&shown)
    }

    /// What stands for the beginning of a text, and how much of it.
    fn stand_in(&mut self, text: &str) -> Option<(String, usize)> {
        if let Some(length) = time(text) {
            return Some((TIME.to_owned(), length));
        }
        if let Some(length) = duration(text) {
            let unit = text[..length].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
            return Some((format!("1.0{unit}"), length));
        }
        if let Some((stand_in, length)) = counted(text) {
            return Some((stand_in, length));
        }
        if let Some(rest) = text.strip_prefix("llmc_") {
            // A token: 256 bits.
            let length =
                rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)).count();
            return (length >= DIGEST_DIGITS).then(|| ("llmc_R4nd0m…".to_owned(), length + "llmc_".len()));
        }
        let digits = text.bytes().take_while(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')).count();
        let ends = !text[digits..].starts_with(|next: char| next.is_ascii_alphanumeric());
        (digits >= DIGEST_DIGITS && ends).then(|| (self.digest(&text[..digits]).to_owned(), digits))
    }

    fn digest(&mut self, digest: &str) -> &'static str {
        let known = self.digests.iter().position(|known| known == digest);
        let index = known.unwrap_or_else(|| {
            self.digests.push(digest.to_owned());
            self.digests.len() - 1
        });
        DIGESTS[index % DIGESTS.len()]
    }
}

/// The length of a time such as `2026-07-28T09:00:00Z`, with or without fractions of a second.
fn time(text: &str) -> Option<usize> {
    const FORM: &str = "dddd-dd-ddTdd:dd:dd";
    let head = text.get(..FORM.len())?;
    let fits = head.bytes().zip(FORM.bytes()).all(|(byte, form)| match form {
        b'd' => byte.is_ascii_digit(),
        form => byte == form,
    });
    let fraction =
        text[FORM.len()..].bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let length = FORM.len() + fraction;
    (fits && text[length..].starts_with('Z')).then_some(length + 1)
}

/// The length of a measured time such as `0.5 ms`, `26 ms` or `1.02s`. Whole seconds are limits that somebody chose.
fn duration(text: &str) -> Option<usize> {
    let number = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let is_measured = text[..number].contains('.') || text[number..].starts_with(" ms");
    if !is_measured || !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let units = [" ms", " s", "ms", "s"];
    let unit = units.iter().find(|unit| {
        let after = text[number..].strip_prefix(**unit);
        after.is_some_and(|after| !after.starts_with(|next: char| next.is_ascii_alphanumeric()))
    })?;
    Some(number + unit.len())
}

/// Numbers that depend on how quickly things went: a duration in microseconds, checkpoints of an audit.
fn counted(text: &str) -> Option<(String, usize)> {
    const DURATION: &str = "duration_us=";
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    if let Some(rest) = text.strip_prefix(DURATION) {
        return Some((format!("{DURATION}1000"), DURATION.len() + digits(rest)));
    }
    let number = digits(text);
    let is_counted = number > 0 && text[number..].starts_with(" checkpoints");
    is_counted.then(|| ("3".to_owned(), number))
}

/// Whoever runs the tests, `root (uid 0)`, is `ada (uid 1000)`.
fn with_user(line: &str) -> String {
    let Some((before, after)) = line.split_once(" (uid ") else { return line.to_owned() };
    let Some((_, after)) = after.split_once(')') else { return line.to_owned() };
    let before = before.rsplit_once(' ').map_or(String::new(), |(before, _)| format!("{before} "));
    format!("{before}ada (uid 1000){after}")
}

#[test]
fn what_differs_has_a_stand_in() {
    let mut terminal =
        Terminal::new(Path::new("/tmp/.x1"), Path::new("/build/stage"), Path::new("/build/docs"));
    let (one, other) = ("0f".repeat(32), "1e".repeat(32));
    let output = format!(
        "/build/stage/bin/llmc in /tmp/.x1/project\n  - sha256 {one}\n  + sha256 {other}\nsha256:{one}\n   Compiling x v0.1.0\n\
         call  hello  ok  0.53 ms  86 bytes\nexit code 0, 26 ms\nduration_us=512 with 5 checkpoints\naccepted by root (uid 0), at 2026-11-23T10:00:00.123Z\nversion 1.2.3, 10 s\n"
    );
    let expected = "/opt/llmc/bin/llmc in /home/ada/project\n  - sha256 9763a915…\n  + sha256 5d0cc9e1…\nsha256:9763a915…\n\
        call  hello  ok  1.0 ms  86 bytes\nexit code 0, 1.0 ms\nduration_us=1000 with 3 checkpoints\naccepted by ada (uid 1000), at 2026-07-28T09:00:00Z\nversion 1.2.3, 10 s\n";
    assert_eq!(terminal.shown(&output), expected);
}
