//! The server's own tools: `search_tools` and `describe_tool` for models that do not see all tools in their list, and
//! `read_more` for results that were too long; `get_metrics` where the operator wants models to see it.
//!
//! They are entries of the registry as any other tool, take the one call path, and tell each caller only of tools
//! that it may call itself or from code.

use std::sync::Arc;

use llmc_core::Envelope;
use llmc_core::manifest::{Annotations, Item, ItemKind};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::read_more::{self, ReadMore};
use super::registry::Home;
use super::schema::nearest;
use super::{CallError, CallPath, Caller, Entry, Kind, Schema};
use crate::plugin::CallContext;
use crate::telemetry::METRICS;
use crate::telemetry::report::report;

/// Tools that one search names unless told otherwise.
const DEFAULT_LIMIT: usize = 10;

/// Longest line about a tool, in characters.
const MAX_LINE_CHARS: usize = 160;

/// Longest query in characters; words beyond it say little.
const MAX_QUERY_CHARS: usize = 500;

/// One of the tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// Names tools by words.
    SearchTools,
    /// Tells everything about one.
    DescribeTool,
    /// Reads on in a result that was too long.
    ReadMore,
    /// Tells how the server fares; there only if the operator wants it.
    GetMetrics,
}

#[derive(Deserialize)]
struct Search {
    query: String,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct Describe {
    name: String,
}

/// A tool within the reach of a caller.
struct Reachable<'a> {
    entry: &'a Entry,
    /// The caller gets there through `execute_code` only.
    code_only: bool,
}

impl Builtin {
    /// Those that are always there.
    pub(super) const ALL: [Self; 3] = [Self::SearchTools, Self::DescribeTool, Self::ReadMore];

    /// Whether it is for models that do not see all tools.
    pub(super) fn finds_tools(self) -> bool {
        matches!(self, Self::SearchTools | Self::DescribeTool)
    }

    fn name(self) -> &'static str {
        match self {
            Self::SearchTools => "search_tools",
            Self::DescribeTool => "describe_tool",
            Self::ReadMore => "read_more",
            Self::GetMetrics => "get_metrics",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::SearchTools => "Search tools",
            Self::DescribeTool => "Describe tool",
            Self::ReadMore => "Read more",
            Self::GetMetrics => "Get metrics",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::SearchTools => {
                "Finds tools by words, best first. Those marked `code_only` are called from `execute_code`: \
                 `from llmc import tools`, then `tools.NAME(...)`."
            }
            Self::DescribeTool => "Tells arguments and result of a tool, as JSON Schemas.",
            Self::ReadMore => read_more::DESCRIPTION,
            Self::GetMetrics => "Tells calls, outcomes and durations of all tools since the server started.",
        }
    }

    fn input_schema(self) -> Value {
        let properties = match self {
            Self::SearchTools => json!({
                "query": {"type": "string", "maxLength": MAX_QUERY_CHARS, "description": "Empty for all."},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": DEFAULT_LIMIT},
            }),
            Self::DescribeTool => json!({"name": {"type": "string"}}),
            Self::ReadMore => read_more::properties(),
            Self::GetMetrics => json!({}),
        };
        let required: &[&str] = match self {
            Self::SearchTools => &["query"],
            Self::DescribeTool => &["name"],
            Self::ReadMore => &["handle"],
            Self::GetMetrics => &[],
        };
        json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
    }

    fn output_schema(self) -> Value {
        let (text, flag) = (json!({"type": "string"}), json!({"type": "boolean"}));
        let properties = match self {
            Self::SearchTools => {
                let tool = json!({"name": text, "description": text, "plugin": text, "code_only": flag});
                json!({
                    "tools": {"type": "array", "items": {"type": "object", "properties": tool}},
                    "total": {"type": "integer"},
                })
            }
            Self::DescribeTool => json!({
                "name": text, "title": text, "description": text, "plugin": text, "code_only": flag,
                "input_schema": {"type": "object"}, "output_schema": {"type": "object"},
                "annotations": {"type": "object"},
            }),
            Self::ReadMore => read_more::result(),
            Self::GetMetrics => {
                let number = json!({"type": "integer"});
                let tool = json!({"type": "object", "properties": {
                    "calls": {"type": "object", "additionalProperties": number},
                    "p50_ms": {"type": ["number", "null"]}, "p95_ms": {"type": ["number", "null"]},
                }});
                json!({
                    "uptime_s": number, "calls_running": number, "runs_live": number,
                    "tools": {"type": "object", "additionalProperties": tool},
                })
            }
        };
        json!({"type": "object", "properties": properties})
    }

    /// The tool as an entry of the registry.
    pub(super) fn entry(self) -> Result<Entry, String> {
        let (input_schema, output_schema) = (self.input_schema(), self.output_schema());
        Ok(Entry {
            name: self.name().to_owned(),
            title: self.title().to_owned(),
            description: self.description().to_owned(),
            annotations: Annotations::READ_ONLY,
            input: Schema::compile(&input_schema)?,
            output: Some(Schema::compile(&output_schema)?),
            input_schema,
            output_schema: Some(output_schema),
            home: Home::Server(self),
            metrics: METRICS.tool(self.name()),
            kind: ItemKind::Tool,
            long: false,
            resource: None,
        })
    }

    /// The result of a call, as bytes like those of a plugin.
    pub(super) fn answer(
        self,
        path: &CallPath,
        caller: &Caller,
        context: &CallContext,
        arguments: &[u8],
    ) -> Result<Vec<u8>, CallError> {
        // They were checked against the schema just before.
        let unread = |error: serde_json::Error| CallError::new(Kind::InvalidArguments, error.to_string());
        let tools = || reachable(path, caller, context);
        let envelope = match self {
            Self::SearchTools => search(&tools(), &serde_json::from_slice(arguments).map_err(unread)?),
            Self::DescribeTool => describe(&tools(), &serde_json::from_slice(arguments).map_err(unread)?)?,
            Self::ReadMore => {
                let asked: ReadMore = serde_json::from_slice(arguments).map_err(unread)?;
                asked.answer(&path.shelf, &context.origin)?
            }
            Self::GetMetrics => Envelope { structured: Some(report(&path.registry)), ..Envelope::default() },
        };
        serde_json::to_vec(&envelope).map_err(|error| CallError::new(Kind::InvalidResult, error.to_string()))
    }
}

/// All of them, as a plugin would tell of its tools; for the reference.
pub(crate) fn items() -> Vec<Item> {
    let all = Builtin::ALL.into_iter().chain([Builtin::GetMetrics]);
    let item = |tool: Builtin| Item {
        kind: ItemKind::Tool,
        name: tool.name().to_owned(),
        title: tool.title().to_owned(),
        description: tool.description().to_owned(),
        input_schema: tool.input_schema(),
        output_schema: Some(tool.output_schema()),
        annotations: Annotations::READ_ONLY,
        long: false,
        resource: None,
    };
    all.map(item).collect()
}

/// Tools of plugins that a caller may call, itself or from code that it has run.
fn reachable<'a>(path: &'a CallPath, caller: &Caller, context: &CallContext) -> Vec<Reachable<'a>> {
    let from_code = path.code_caller().filter(|_| caller.is_client());
    let may = |caller: &Caller, entry: &Entry| path.authority.allows(caller, entry).is_ok();
    path.registry
        .entries()
        .map(Arc::as_ref)
        .filter(|entry| matches!(entry.home, Home::Plugin(_)))
        .filter(|entry| context.bounds.allows(caller, &entry.name).is_ok())
        .filter_map(|entry| {
            let direct = may(caller, entry);
            let code =
                || from_code.as_ref().is_some_and(|code| may(code, entry) && caller.opens(&entry.name));
            (direct || code()).then_some(Reachable { entry, code_only: !direct })
        })
        .collect()
}

fn search(tools: &[Reachable<'_>], search: &Search) -> Envelope {
    let wanted = words(&search.query);
    let mut found: Vec<(u32, &Reachable<'_>)> = tools
        .iter()
        .map(|tool| (score(tool.entry, &search.query, &wanted), tool))
        .filter(|(score, _)| *score > 0 || wanted.is_empty())
        .collect();
    // Stable: equals stay in the order of their names.
    found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let total = found.len();
    found.truncate(search.limit.unwrap_or(DEFAULT_LIMIT));
    let listed: Vec<Value> = found.iter().map(|(_, tool)| tool.line()).collect();
    let mut text: Vec<String> = found.iter().map(|(_, tool)| tool.text()).collect();
    match total - listed.len() {
        _ if total == 0 => text.push("no tool fits; use other words, or an empty query for all".to_owned()),
        0 => {}
        more => text.push(format!("{more} more")),
    }
    let structured = Some(json!({"tools": listed, "total": total}));
    Envelope { structured, ..Envelope::text(text.join("\n")) }
}

fn describe(tools: &[Reachable<'_>], Describe { name }: &Describe) -> Result<Envelope, CallError> {
    let found = tools.iter().find(|tool| tool.entry.name == *name);
    let found = found.ok_or_else(|| {
        let near = nearest(name, tools.iter().map(|tool| tool.entry.name.as_str()));
        let hint = near.map_or("search with `search_tools`".into(), |near| format!("did you mean `{near}`?"));
        let name = super::shortened(name);
        CallError::new(Kind::InvalidArguments, format!("there is no tool `{name}` to be called; {hint}"))
    })?;
    Ok(Envelope { structured: Some(found.whole()), ..Envelope::default() })
}

impl Reachable<'_> {
    /// What a search tells.
    fn line(&self) -> Value {
        let Entry { name, description, .. } = self.entry;
        let description = first_line(description);
        self.marked(json!({"name": name, "description": description, "plugin": self.entry.owner()}))
    }

    fn text(&self) -> String {
        let mark = if self.code_only { " (from code)" } else { "" };
        format!("{}{mark}: {}", self.entry.name, first_line(&self.entry.description))
    }

    fn whole(&self) -> Value {
        let entry = self.entry;
        let mut whole = Map::from_iter([
            ("name".to_owned(), json!(entry.name)),
            ("title".to_owned(), json!(entry.title)),
            ("plugin".to_owned(), json!(entry.owner())),
            ("description".to_owned(), json!(entry.description)),
            ("input_schema".to_owned(), entry.input_schema.clone()),
            ("annotations".to_owned(), json!(entry.annotations)),
        ]);
        whole.extend(entry.output_schema.clone().map(|schema| ("output_schema".to_owned(), schema)));
        self.marked(Value::Object(whole))
    }

    /// A mark is there only where it says something: every word is paid for.
    fn marked(&self, mut value: Value) -> Value {
        if self.code_only {
            value["code_only"] = json!(true);
        }
        value
    }
}

fn first_line(description: &str) -> String {
    let line = description.lines().next().unwrap_or_default();
    match line.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn words(text: &str) -> Vec<String> {
    let letters = |text: char| !text.is_alphanumeric();
    text.to_lowercase().split(letters).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// How well a tool fits: its name counts most, then what is said of it, then its arguments.
fn score(entry: &Entry, query: &str, wanted: &[String]) -> u32 {
    let arguments = entry.input_schema.get("properties").and_then(Value::as_object);
    let arguments: Vec<&String> = arguments.into_iter().flatten().map(|(name, _)| name).collect();
    let places = [
        (8, words(&entry.name)),
        (3, words(&format!("{} {}", entry.title, entry.description))),
        (1, arguments.into_iter().flat_map(|name| words(name)).collect()),
    ];
    let whole = if query.trim().eq_ignore_ascii_case(&entry.name) { 100 } else { 0 };
    let of_word = |word: &String| -> u32 {
        places
            .iter()
            .map(|(weight, known)| weight * known.iter().map(|known| fit(word, known)).max().unwrap_or(0))
            .sum()
    };
    whole + wanted.iter().map(of_word).sum::<u32>()
}

/// 2 for the same word, 1 for the same beginning, as in `search` and `searches`.
fn fit(word: &str, known: &str) -> u32 {
    let alike = |long: &str, short: &str| short.chars().count() >= 3 && long.starts_with(short);
    match word == known {
        true => 2,
        false => u32::from(alike(word, known) || alike(known, word)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, description: &str) -> Entry {
        let schema = json!({"type": "object", "properties": {"max_bytes": {"type": "integer"}}});
        Entry {
            name: name.into(),
            title: String::new(),
            description: description.into(),
            input: Schema::compile(&schema).unwrap(),
            input_schema: schema,
            ..Builtin::SearchTools.entry().unwrap()
        }
    }

    fn found(query: &str) -> Vec<String> {
        let entries = [
            entry("list_dir", "Lists a directory."),
            entry("read_file", "Reads a file or a window of it."),
            entry("search_files", "Searches the contents of text files."),
        ];
        let tools: Vec<_> = entries.iter().map(|entry| Reachable { entry, code_only: false }).collect();
        let result = search(&tools, &Search { query: query.into(), limit: None }).structured.unwrap();
        result["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().into()).collect()
    }

    #[test]
    fn names_count_more_than_words_about_them() {
        assert_eq!(found("read_file")[0], "read_file");
        assert_eq!(found("search"), ["search_files"]);
        assert_eq!(found("searching file contents")[0], "search_files");
        assert_eq!(found("Directory"), ["list_dir"]);
        assert_eq!(found("zebra"), Vec::<String>::new());
        assert_eq!(found("bytes").len(), 3, "arguments count too");
        assert_eq!(found(""), ["list_dir", "read_file", "search_files"]);
    }

    #[test]
    fn long_descriptions_are_cut_at_a_character() {
        let line = first_line(&format!("{}\nmore", "ä".repeat(500)));
        assert_eq!(line.chars().count(), MAX_LINE_CHARS + 1);
    }
}
