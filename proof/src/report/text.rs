//! Text for HTML, and numbers for readers.

/// What a text is inside of HTML, attributes included. Attack inputs are shown: nothing of them may become markup.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            // Control characters are not allowed in HTML; those that turn the direction of text lie about it.
            hidden if is_hidden(hidden) => escaped.push_str(&format!("\\u{{{:x}}}", u32::from(hidden))),
            other => escaped.push(other),
        }
    }
    escaped
}

/// What a reader would not see, or not see as it is.
pub(super) fn is_hidden(character: char) -> bool {
    let is_invisible = matches!(
        character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    );
    character.is_control() || is_invisible
}

/// A number at an axis: short, three digits at most.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    let (value, unit) = match size {
        _ if size >= 1e12 => return format!("{value:.0e}"),
        _ if size >= 1e9 => (value / 1e9, "G"),
        _ if size >= 1e6 => (value / 1e6, "M"),
        _ if size >= 1e4 => (value / 1e3, "k"),
        _ if size == 0.0 => return "0".into(),
        _ if size < 1e-4 => return format!("{value:.0e}"),
        _ => (value, ""),
    };
    let digits = if value.abs() >= 100.0 { 0 } else { 4 };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &*text };
    format!("{text}{unit}")
}

/// How long something took, from seconds.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 5400.0 => format!("{:.1} h", seconds / 3600.0),
        _ if seconds >= 90.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_becomes_markup() {
        assert_eq!(escape(r#"<a b="c" d='e'>&"#), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;");
        assert_eq!(
            escape("a\u{0}b\u{1b}[31m\u{202e}c\u{e0041}\n"),
            "a\\u{0}b\\u{1b}[31m\\u{202e}c\\u{e0041}\n"
        );
        assert_eq!(escape("größe ≤ 1 µs ✓"), "größe ≤ 1 µs ✓");
    }

    #[test]
    fn numbers_are_short() {
        let check = |value: f64, text: &str| assert_eq!(number(value), text);
        check(0.0, "0");
        check(0.25, "0.25");
        check(1000.0, "1000");
        check(20_000.0, "20k");
        check(1_500_000.0, "1.5M");
        check(-3.0, "-3");
        check(0.000_02, "2e-5");
        assert_eq!(
            (duration(3.21), duration(600.0), duration(7200.0)),
            ("3.2 s".into(), "10.0 min".into(), "2.0 h".into())
        );
    }
}
