//! What means something on any machine: no time, size or rate.

/// Units of what differs from machine to machine; those that end in `/s` besides.
const UNITS: [&str; 30] = [
    "ns", "µs", "μs", "us", "ms", "s", "sec", "second", "seconds", "min", "minute", "minutes", "h", "hour",
    "hours", "B", "byte", "bytes", "kB", "KB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB", "Hz", "MHz",
    "GHz",
];

/// How far behind a number its `/s` may stand: `38735 calls of hello/s`.
const RATE_WORDS: usize = 3;

/// Whether a text names no time, size or rate.
pub(super) fn is_portable(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().map(bare).collect();
    !words.iter().enumerate().any(|(at, word)| {
        let Some(glued) = behind_number(word) else { return false };
        if !glued.is_empty() {
            return is_unit(glued);
        }
        let next = &words[at + 1..];
        next.first().is_some_and(|next| is_unit(next))
            || next.iter().take(RATE_WORDS).any(|word| word.ends_with("/s"))
            || next
                .iter()
                .take(RATE_WORDS + 1)
                .collect::<Vec<_>>()
                .windows(2)
                .any(|two| two == [&"per", &"second"])
    })
}

/// Whether a heading or a title says that what stands below it are times, sizes or rates.
pub(super) fn names_unit(heading: &str) -> bool {
    heading.split_whitespace().map(bare).any(is_unit)
}

fn is_unit(word: &str) -> bool {
    word.ends_with("/s") || UNITS.contains(&word.split('/').next().unwrap_or(word))
}

/// A word without what surrounds it.
fn bare(word: &str) -> &str {
    let word = word.trim_start_matches([
        '+', '-', '−', '±', '(', '[', '<', '>', '≤', '≥', '~', '≈', '"', '\'', '`', '=',
    ]);
    word.trim_end_matches([')', ']', ',', ';', ':', '.', '"', '\'', '`'])
}

/// What is glued to the number that a word begins with; none if it begins with none.
fn behind_number(word: &str) -> Option<&str> {
    let end = word.rfind(|c: char| c.is_ascii_digit())? + 1;
    word.starts_with(|c: char| c.is_ascii_digit()).then(|| &word[end..])
}

/// The longest beginning of a text that is portable and ends where one of these begins.
pub(super) fn beginning<'a>(text: &'a str, ends: &[&str]) -> Option<&'a str> {
    if is_portable(text) {
        return Some(text);
    }
    let mut cuts: Vec<usize> =
        ends.iter().flat_map(|end| text.match_indices(end)).map(|(at, _)| at).collect();
    cuts.sort_unstable();
    let is_balanced = |text: &str| text.matches('(').count() == text.matches(')').count();
    let parts = cuts.into_iter().rev().map(|at| &text[..at]);
    parts.into_iter().find(|part| !part.is_empty() && is_balanced(part) && is_portable(part))
}

/// Where a bound is a number with a unit: what was seen as a part of that.
pub(super) fn share_of_bound(expected: &str, seen: &str) -> Option<String> {
    let bound = ["at most ", "at least "].iter().find_map(|word| expected.strip_prefix(word))?;
    let ((bound, unit), (seen, seen_unit)) = (quantity(bound)?, quantity(seen)?);
    let share = seen / bound;
    (unit == seen_unit && share.is_finite()).then(|| format!("{share:.2} of the bound"))
}

/// Where a bound is one of growth, `at most 3 MiB after 2 MiB`: both as ratios to what there was before.
pub(super) fn beside_before(expected: &str, seen: &str) -> Option<[String; 2]> {
    let (bound, before) = expected.strip_prefix("at most ")?.split_once(" after ")?;
    let [(bound, unit), (before, of_before), (seen, of_seen)] =
        [quantity(bound)?, quantity(before)?, quantity(seen)?];
    let is_ratio = unit == of_before && unit == of_seen && before > 0.0;
    is_ratio
        .then(|| [format!("at most {:.2}x of what it was", bound / before), format!("{:.2}x", seen / before)])
}

/// The number and the unit that a text begins with.
fn quantity(text: &str) -> Option<(f64, &str)> {
    let mut words = text.split_whitespace();
    let first = words.next()?;
    let digits = first.trim_start_matches(['+', '-', '−']);
    let number = digits.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match bare(&digits[number.len()..]) {
        "" => bare(words.next()?),
        glued => glued,
    };
    let number: f64 = number.replace(',', "").parse().ok()?;
    Some((if first.starts_with(['-', '−']) { -number } else { number }, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_stay_out() {
        for text in [
            "1.2 ms",
            "took 30 s.",
            "12 MiB, more",
            "5000 calls/s",
            "1.5µs",
            "(3 ms)",
            "≤ 20 ms",
            "+12.30 KiB",
            "-0.5 ms",
            "12000/s",
            "38735 /s, baseline 101259 /s",
            "900 runs of code/s",
            "5000 calls per second",
            "3 µs/call",
            "`7 ms`",
        ] {
            assert!(!is_portable(text), "{text}");
        }
        for text in [
            "1.4 times the limit",
            "98 %",
            "3 of 3",
            "×1.2",
            "0.67x",
            "Linux 6.1",
            "no second server",
            "sha256",
            "+0.001 descriptors",
            "and/so 3 on",
            "one call per second",
        ] {
            assert!(is_portable(text), "{text}");
        }
    }

    #[test]
    fn of_a_figure_with_its_ground_the_figure_is_kept() {
        let seen = |text| beginning(text, &[" (", "; ", ", "]);
        assert_eq!(seen("0.67x (55.1 us, baseline 82.0 us)"), Some("0.67x"));
        assert_eq!(seen("0.40x (38735 /s, baseline 101259 /s)"), Some("0.40x"));
        assert_eq!(seen("1.25x (1.1 times, then 1.4)"), Some("1.25x (1.1 times, then 1.4)"));
        assert_eq!(seen("3 of 3 (all, of 4) end, the last after 3 s"), Some("3 of 3 (all, of 4) end"));
        assert_eq!(seen("1.09 MiB (private)"), None);
        assert_eq!(seen("(3 ms)"), None);
        let summary = "5 calls, 2 faults; the longest took 9.2 s. Good.";
        assert_eq!(beginning(summary, &["; ", ". "]), Some("5 calls, 2 faults"));
    }

    #[test]
    fn beside_a_bound_sizes_are_shares() {
        let share = |expected, seen| share_of_bound(expected, seen);
        assert_eq!(share("at most 1.5 MiB", "1.20 MiB (private)").as_deref(), Some("0.80 of the bound"));
        assert_eq!(
            share("at most 512 KiB per 100,000 calls", "-25.60 KiB").as_deref(),
            Some("-0.05 of the bound")
        );
        assert_eq!(share("at least 1,000/s", "+1500/s").as_deref(), Some("1.50 of the bound"));
        assert_eq!(share("at most 1.5 MiB", "800 KiB"), None);
        assert_eq!(share("within 19 s", "3 s"), None);
        assert_eq!(share("at most 0 ms", "3 ms"), None);
    }

    #[test]
    fn beside_what_was_before_sizes_are_ratios() {
        let ratios = beside_before("at most 90 KiB after 60 KiB", "66 KiB");
        assert_eq!(ratios, Some(["at most 1.50x of what it was".into(), "1.10x".into()]));
        assert_eq!(beside_before("at most 90 KiB after 60 MiB", "66 KiB"), None);
        assert_eq!(beside_before("at most 90 KiB", "66 KiB"), None);
    }

    #[test]
    fn headings_name_units() {
        for heading in ["p50 us", "latency, 1 in flight (us)", "calls/s", "KiB at the end", "start (ms)"] {
            assert!(names_unit(heading), "{heading}");
        }
        for heading in ["", "calls", "of the call", "times", "tokens", "recall@5"] {
            assert!(!names_unit(heading), "{heading}");
        }
    }
}
