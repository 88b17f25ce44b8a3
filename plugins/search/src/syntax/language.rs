//! Languages, by file name.

/// What a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Language {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    Tsx,
    Go,
    Java,
    C,
    Cpp,
    Markdown,
    /// Anything else that is text.
    Text,
}

/// Name, and endings of file names in small letters.
const LANGUAGES: [(Language, &str, &[&str]); 11] = [
    (Language::Rust, "rust", &["rs"]),
    (Language::Python, "python", &["py", "pyi"]),
    (Language::JavaScript, "javascript", &["js", "mjs", "cjs", "jsx"]),
    (Language::TypeScript, "typescript", &["ts", "mts", "cts"]),
    (Language::Tsx, "tsx", &["tsx"]),
    (Language::Go, "go", &["go"]),
    (Language::Java, "java", &["java"]),
    (Language::C, "c", &["c", "h"]),
    (Language::Cpp, "cpp", &["cpp", "cc", "cxx", "hpp", "hh", "hxx", "ipp"]),
    (Language::Markdown, "markdown", &["md", "markdown", "mdx"]),
    (Language::Text, "text", &[]),
];

/// Endings of what programs write, or nobody reads: translations, locks, pictures as text, tables, maps.
const UNREAD: &[&str] = &[
    "po", "pot", "mo", "lock", "svg", "map", "csv", "tsv", "min.js", "min.css", "snap", "ipynb", "geojson",
    "pem",
];

impl Language {
    /// That of a file; `None` for what is not worth indexing.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        if name == "package-lock.json" || UNREAD.iter().any(|ending| ends_with(&name, ending)) {
            return None;
        }
        let by_ending =
            LANGUAGES.iter().find(|(.., endings)| endings.iter().any(|ending| ends_with(&name, ending)));
        Some(by_ending.map_or(Self::Text, |(language, ..)| *language))
    }

    /// As it stands in arguments, results and the database.
    pub(crate) fn name(self) -> &'static str {
        LANGUAGES.iter().find(|(language, ..)| *language == self).map_or("text", |(_, name, _)| name)
    }

    /// Every name.
    pub(crate) fn names() -> Vec<&'static str> {
        LANGUAGES.iter().map(|(_, name, _)| *name).collect()
    }
}

fn ends_with(name: &str, ending: &str) -> bool {
    name.strip_suffix(ending).is_some_and(|stem| stem.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides() {
        for (path, language) in [
            ("src/Main.RS", Some(Language::Rust)),
            ("a/b.test.ts", Some(Language::TypeScript)),
            ("Makefile", Some(Language::Text)),
            ("rs", Some(Language::Text)),
            ("x.min.js", None),
            ("locale/de.po", None),
            ("web/package-lock.json", None),
        ] {
            assert_eq!(Language::of(path), language, "{path}");
        }
    }
}
