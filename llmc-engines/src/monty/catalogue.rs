//! `tools.search` and `tools.describe`, as in the other languages.

use serde_json::{Value, json};

/// Longest description in a list, in characters.
const LINE_CHARS: usize = 160;

/// The tools that came with the job.
pub(super) struct Catalogue(Vec<Value>);

impl Catalogue {
    /// Fails when the job names none.
    pub(super) fn of(tools: Option<&str>) -> Result<Self, String> {
        let tools = tools.and_then(|tools| serde_json::from_str(tools).ok());
        tools
            .map(Self)
            .ok_or_else(|| "the tools are not listed for code that does not name `llmc`".to_owned())
    }

    /// Tools by words, best first: name and first line.
    pub(super) fn search(&self, text: &str, limit: usize) -> Value {
        let wanted = words(text);
        let scored = self.0.iter().map(|tool| (score(tool, &wanted), tool));
        let mut found: Vec<_> = scored.filter(|(points, _)| *points > 0 || wanted.is_empty()).collect();
        found.sort_by(|(a, first), (b, second)| {
            b.cmp(a).then_with(|| said(first, "name").cmp(said(second, "name")))
        });
        let entry = |tool: &Value| json!({"name": said(tool, "name"), "description": first_line(tool)});
        found.into_iter().take(limit).map(|(_, tool)| entry(tool)).collect()
    }

    /// All that is known of a tool.
    pub(super) fn describe(&self, name: &str) -> Result<Value, String> {
        let tool = self.0.iter().find(|tool| said(tool, "name") == name);
        let unknown = || format!("there is no tool `{name}` that this code may call; see tools.search()");
        tool.cloned().ok_or_else(unknown)
    }
}

fn said<'a>(tool: &'a Value, what: &str) -> &'a str {
    tool[what].as_str().unwrap_or_default()
}

fn first_line(tool: &Value) -> String {
    let line = said(tool, "description").lines().next().unwrap_or_default();
    line.chars().take(LINE_CHARS).collect()
}

fn words(text: &str) -> Vec<String> {
    let parts = text.split(|letter: char| !letter.is_alphanumeric());
    parts.filter(|part| !part.is_empty()).map(str::to_lowercase).collect()
}

/// The name counts most, then what is said of the tool, then its arguments.
fn score(tool: &Value, wanted: &[String]) -> usize {
    let about = format!("{} {}", said(tool, "title"), said(tool, "description"));
    let properties = tool["input_schema"]["properties"].as_object();
    let arguments =
        properties.into_iter().flat_map(|properties| properties.keys()).flat_map(|name| words(name));
    let places: [(usize, Vec<String>); 3] =
        [(8, words(said(tool, "name"))), (3, words(&about)), (1, arguments.collect())];
    let best =
        |word: &String, known: &[String]| known.iter().map(|other| fit(word, other)).max().unwrap_or(0);
    wanted
        .iter()
        .map(|word| places.iter().map(|(weight, known)| weight * best(word, known)).sum::<usize>())
        .sum()
}

/// 2 for the same word, 1 for the same beginning.
fn fit(word: &str, known: &str) -> usize {
    if word == known {
        return 2;
    }
    let shorter = word.chars().count().min(known.chars().count());
    usize::from(shorter >= 3 && (word.starts_with(known) || known.starts_with(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_found_as_in_the_other_languages() {
        let tools = json!([
            {"name": "read_file", "description": "Reads a file.\nMore.", "input_schema": {"properties": {"path": {}}}},
            {"name": "list_dir", "description": "Lists files."},
            {"name": "search", "description": "Finds text in files."},
        ]);
        let tools = Catalogue::of(Some(&tools.to_string())).unwrap();
        let names = |found: &Value| -> Vec<String> {
            let found = found.as_array().unwrap();
            found.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(&tools.search("file", 20)), ["read_file", "list_dir", "search"]);
        assert_eq!(tools.search("path", 20), json!([{"name": "read_file", "description": "Reads a file."}]));
        assert_eq!((names(&tools.search("", 20)).len(), names(&tools.search("", 1)).len()), (3, 1));
        assert_eq!(tools.search("zebra", 20), json!([]));
        assert_eq!(tools.describe("list_dir").unwrap()["description"], "Lists files.");
        assert!(tools.describe("lst_dir").unwrap_err().contains("no tool `lst_dir`"));
        assert!(Catalogue::of(None).is_err());
    }
}
