//! What a file is, by its name, and by its text where the name says nothing.

/// Endings and what they mean.
const ENDINGS: &[(&str, &str)] = &[
    ("c", "c"),
    ("cc", "c++"),
    ("cpp", "c++"),
    ("css", "css"),
    ("csv", "csv"),
    ("go", "go"),
    ("h", "c"),
    ("hpp", "c++"),
    ("html", "html"),
    ("java", "java"),
    ("js", "javascript"),
    ("json", "json"),
    ("jsonl", "jsonl"),
    ("jsx", "javascript"),
    ("kt", "kotlin"),
    ("lock", "lock"),
    ("log", "log"),
    ("md", "markdown"),
    ("mjs", "javascript"),
    ("php", "php"),
    ("py", "python"),
    ("rb", "ruby"),
    ("rs", "rust"),
    ("sh", "shell"),
    ("sql", "sql"),
    ("swift", "swift"),
    ("toml", "toml"),
    ("ts", "typescript"),
    ("tsx", "typescript"),
    ("txt", "text"),
    ("xml", "xml"),
    ("yaml", "yaml"),
    ("yml", "yaml"),
];

/// Words of log lines.
const LEVELS: [&str; 8] = ["ERROR", "WARN", "INFO", "DEBUG", "TRACE", "FATAL", "NOTICE", "WARNING"];
/// Lines of a log that are enough to know it.
const LOG_LINES: usize = 2;

/// What a file is.
pub(crate) fn content_type(path: &str, text: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let known = ending.and_then(|ending| ENDINGS.iter().find(|(known, _)| *known == ending));
    match (known, name) {
        (Some((_, meaning)), _) => meaning,
        (None, "Makefile" | "makefile") => "make",
        (None, "Dockerfile") => "dockerfile",
        (None, _) => by_text(text),
    }
}

fn by_text(text: &str) -> &'static str {
    let text = text.trim();
    let is_in = |open: char, close: char| text.starts_with(open) && text.ends_with(close);
    if text.starts_with("#!") {
        return "script";
    }
    if is_in('{', '}') || is_in('[', ']') && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
        return "json";
    }
    let logged = text.lines().take(20).filter(|line| is_logged(line)).count();
    if logged >= LOG_LINES { "log" } else { "text" }
}

/// Whether a line begins with a date or time, or names a level near its beginning.
fn is_logged(line: &str) -> bool {
    let start = line.trim_start_matches('[');
    let digits = start.bytes().take_while(u8::is_ascii_digit).count();
    let is_dated = matches!(digits, 2 | 4) && start[digits..].starts_with(['-', '/', ':']);
    is_dated || line.split([' ', '[', ']', ':', '\t']).take(4).any(|word| LEVELS.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_tell() {
        assert_eq!(content_type("a/B.TSX", ""), "typescript");
        assert_eq!(content_type("ci.yml", ""), "yaml");
        assert_eq!(content_type("out", "2026-01-02 started\n2026-01-02 ended\n"), "log");
        assert_eq!(content_type("out", "[INFO] a\n[WARN] b\n"), "log");
        assert_eq!(
            content_type("out", "2026-01-02 started\nthat is all\n"),
            "text",
            "one line is not enough"
        );
        assert_eq!(content_type("x", " {\"a\": 1}\n"), "json");
        assert_eq!(content_type("x", "[1, 2]"), "json");
        assert_eq!(content_type("x", "[section]"), "text");
        assert_eq!(content_type("x", "#!/bin/sh\n"), "script");
        assert_eq!(content_type(".gitignore", "target\n"), "text");
    }
}
