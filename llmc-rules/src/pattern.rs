//! Patterns of operands and values: `*` stands for any text, everything else for itself.

/// Whether a text fits a pattern as a whole. Takes time in proportion to both lengths.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("-", "-", true),
            ("-", "--", false),
            ("*", "", true),
            ("*::*", "ext::sh -c id", true),
            ("*::*", "https://host/a", false),
            ("+*", "+nightly", true),
            ("*a*a", "a", false),
            ("*a*a", "banana", true),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }
}
