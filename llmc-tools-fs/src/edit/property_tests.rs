//! What holds for any text and any edits: random ones, the same in every run.

use super::diffs::patched;
use super::*;

/// A small generator of numbers (xorshift64), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn text(&mut self, longest: usize, letters: &[&str]) -> String {
        let length = self.below(longest);
        (0..length).map(|_| self.pick(letters)).collect()
    }

    /// A piece of a text, from one of its characters to another.
    fn piece<'a>(&mut self, text: &'a str) -> &'a str {
        let ends: Vec<usize> = text.char_indices().map(|(place, _)| place).chain([text.len()]).collect();
        let (one, other) = (ends[self.below(ends.len())], ends[self.below(ends.len())]);
        &text[one.min(other)..one.max(other)]
    }
}

const ENCODINGS: [Encoding; 4] = [Encoding::Utf8, Encoding::Utf8Bom, Encoding::Utf16Le, Encoding::Utf16Be];

/// Edits of what is in the text, of what is not, and of what is there several times.
fn random_edits(random: &mut Random, text: &str, letters: &[&str]) -> Vec<Edit> {
    let count = 1 + random.below(3);
    let edit = |_| {
        let old = if random.below(5) == 0 { random.text(4, letters) } else { random.piece(text).to_owned() };
        let new = random.text(6, letters);
        let found = if old.is_empty() { 0 } else { lines::plain(text).matches(&*lines::plain(&old)).count() };
        let expected_count = if random.below(4) == 0 { 1 } else { u32::try_from(found).unwrap() };
        Edit { old, new, expected_count }
    };
    (0..count).map(edit).collect()
}

/// What the edits mean for a text with line feeds only.
fn model(text: &str, edits: &[Edit]) -> Option<String> {
    let mut text = text.to_owned();
    for Edit { old, new, expected_count } in edits {
        let (old, new) = (old.replace("\r\n", "\n"), new.replace("\r\n", "\n"));
        if old.is_empty() || old == new || text.matches(&old).count() != *expected_count as usize {
            return None;
        }
        text = text.replace(&old, &new);
    }
    Some(text)
}

fn check_random(seed: u64, letters: &[&str]) -> bool {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let text = random.text(40, letters);
    let encoding = ENCODINGS[random.below(4)];
    let edits = random_edits(&mut random, &text, letters);
    let bytes = encode(encoding, &text);
    let case = format!("seed {seed}: {text:?} {edits:?}");
    let Ok(edited) = apply(bytes, &edits, false, || Ok(())) else { return false };
    // All of them, in order.
    let expected = model(&text.replace("\r\n", "\n"), &edits);
    assert_eq!(Some(edited.after.replace("\r\n", "\n")), expected, "{case}");
    assert_eq!(edited.before, text, "{case}");
    // In the same encoding and, where it has but one, with the same line ends.
    assert_eq!(edited.bytes, encode(encoding, &edited.after), "{case}");
    let (feeds, pairs) = (text.matches('\n').count(), text.matches("\r\n").count());
    let (feeds_after, pairs_after) =
        (edited.after.matches('\n').count(), edited.after.matches("\r\n").count());
    if feeds > 0 && (pairs == 0 || pairs == feeds) {
        assert_eq!(pairs_after, if pairs == 0 { 0 } else { feeds_after }, "{case}");
    }
    // The diff leads from one to the other.
    let diff = Diff::new("f", &edited.before, &edited.after);
    if edited.before == edited.after {
        assert_eq!(diff, Diff::default(), "{case}");
    } else {
        assert_eq!(patched(&edited.before, &diff.text), edited.after, "{case}\n{}", diff.text);
    }
    true
}

#[test]
fn random_edits_do_what_they_say_or_nothing() {
    let mut applied = 0;
    for seed in 1..4000 {
        let letters: &[&str] = match seed % 3 {
            0 => &["a", "b", "\n", "é"],
            1 => &["a", "b", "\r\n", "𝄞"],
            _ => &["a", "b", "\n", "\r\n", " "],
        };
        applied += usize::from(check_random(seed, letters));
    }
    assert!(applied > 1000, "{applied}");
}

/// Mangles the whitespace of lines without changing their words.
fn mangled(random: &mut Random, text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        [random.pick(&["", " ", "\t"]), &words.join(random.pick(&[" ", "  "])), random.pick(&["", " "])]
            .concat()
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn random_lines_are_found_whatever_their_whitespace() {
    let mut applied = 0;
    for seed in 1..3000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let lines: Vec<String> = (0..8).map(|_| random.text(5, &["a", "b", " ", "\t"])).collect();
        let text = lines.join("\n") + "\nend";
        let (one, other) = (random.below(8), random.below(8));
        let (first, last) = (one.min(other), one.max(other));
        let old = mangled(&mut random, &lines[first..=last].join("\n"));
        if old.trim().is_empty() || old.ends_with('\n') {
            continue;
        }
        let edits = [edit(&old, "NEW")];
        let Ok(edited) = apply(text.clone().into_bytes(), &edits, true, || Ok(())) else { continue };
        applied += 1;
        let mut expected: Vec<&str> = text.split('\n').collect();
        expected.splice(first..=last, ["NEW"]);
        let after: Vec<&str> = edited.after.split('\n').collect();
        let is_new = |line: &str| line.trim() == "NEW";
        assert_eq!(after.iter().filter(|line| is_new(line)).count(), 1, "{text:?} {old:?} {after:?}");
        let others = |lines: &[&str]| {
            lines.iter().filter(|line| !is_new(line)).map(|line| (*line).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(others(&after), others(&expected), "{text:?} {old:?}");
    }
    assert!(applied > 300, "{applied}");
}
