//! `where_used`.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use llmc_core::prelude::*;

use super::{budget, needs_index, place, shorten, unless_fresh};
use crate::filter::Filter;
use crate::index;
use crate::limits::{DEFAULT_TOKENS, MAX_RESULTS, MAX_TOKENS, MAX_WAIT, MIN_TOKENS};
use crate::query::Query;
use crate::store::{Reader, StoreError};
use crate::syntax::{Extractor, Language, Outline, Usage};
use crate::texts::Texts;
use crate::words::is_word;

/// Files that are looked into.
const MAX_FILES: u32 = 200;
/// Longest line that is shown, in bytes.
const MAX_SHOWN_BYTES: usize = 160;

/// Lists definitions and uses of a name: calls, imports, types, other mentions.
#[arguments]
pub struct WhereUsed {
    /// The name of a function, type or the like; `Type::method` and `module.name` mean the last part.
    name: String,
    /// Only below this path, or files of this glob.
    path: Option<String>,
    /// Most uses. Default: 30.
    #[schemars(range(min = 1, max = 500))]
    limit: Option<u32>,
    /// Most tokens. Default: 4000.
    #[schemars(range(min = MIN_TOKENS, max = MAX_TOKENS))]
    max_tokens: Option<u32>,
}

/// Where a name stands.
#[output(custom_text)]
pub struct Uses {
    definitions: Vec<Mention>,
    uses: Vec<Mention>,
    /// Uses that were found; more than are listed if `truncated`.
    total: usize,
    truncated: bool,
    /// How up to date, if not fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<String>,
}

/// A line with the name.
#[output]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mention {
    path: String,
    line: u32,
    /// `call`, `import`, `type`, `reference`, or the kind of definition.
    usage: String,
    /// The symbol around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    text: String,
}

impl Tool for WhereUsed {
    const NAME: &'static str = "where_used";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Uses;

    fn call(self, ctx: &Context) -> ToolResult<Uses> {
        let name = last_part(&self.name).to_owned();
        if name.is_empty() {
            return Err(ToolError::invalid("`name` is required: an identifier, such as `spawn_blocking`"));
        }
        let index = index::of(ctx)?;
        let filter = Filter::new(Vec::new(), Vec::new(), self.path.as_deref(), &index.roots)?;
        let freshness = index.refresh_for(ctx, MAX_WAIT);
        let files = index
            .ask(|reader| files_with(reader, &name, &filter))
            .map_err(|error| needs_index(&freshness, &error))?;
        let mut texts = Texts::new(&index.roots);
        let mut extractor = Extractor::default();
        let (mut definitions, mut uses) = (Vec::new(), Vec::new());
        for (root, path) in files {
            ctx.check()?;
            let Some(text) = texts.of(&root, &path) else { continue };
            let lines = text.lines(1, text.count());
            mentions(&name, &place(&root, &path), &path, &lines, &mut extractor, &mut definitions, &mut uses);
        }
        let (limit, total) = (self.limit.unwrap_or(30).clamp(1, 500) as usize, uses.len());
        uses.truncate(limit);
        definitions.truncate(MAX_RESULTS as usize);
        let truncated = true;
        let mut answer = Uses { definitions, uses, total, truncated, freshness: unless_fresh(&freshness) };
        shorten(&mut answer, budget(self.max_tokens, DEFAULT_TOKENS), |answer| {
            answer.uses.pop().or_else(|| answer.definitions.pop()).is_some()
        });
        answer.truncated = answer.uses.len() < total;
        Ok(answer)
    }
}

/// `run` of `Server::run`, `a.b.run()` and `run`.
pub(super) fn last_part(name: &str) -> &str {
    let name = name.trim().trim_end_matches(['(', ')', '!', ';']);
    name.rsplit(|letter: char| !is_word(letter)).next().unwrap_or(name)
}

/// Files that mention a name: those whose syntax says so, then those with the word; tests last.
fn files_with(reader: &Reader, name: &str, filter: &Filter) -> Result<Vec<(String, String)>, StoreError> {
    let mut ids: Vec<i64> = reader.symbols_named(name, MAX_FILES)?.into_iter().map(|row| row.file).collect();
    ids.extend(reader.files_using(name, MAX_FILES)?);
    if let Some(words) = Query::parse(name).terms.first().map(|term| format!("\"{}\"", term.whole)) {
        for id in reader.matching("text", "0.0, 0.0, 0.0, 1.0", &words, MAX_FILES * 5)? {
            ids.extend(reader.chunk(id)?.map(|row| row.file));
        }
    }
    let mut seen = HashSet::new();
    let (mut code, mut tests) = (Vec::new(), Vec::new());
    for id in ids {
        if !seen.insert(id) {
            continue;
        }
        let Some((root, path, is_test)) = reader.path_of(id)? else { continue };
        if filter.takes_path(&root, &path) {
            if is_test { tests.push((root, path)) } else { code.push((root, path)) }
        }
    }
    code.append(&mut tests);
    code.truncate(MAX_FILES as usize);
    Ok(code)
}

/// Lines of a file with the name as a whole word, and what it is there.
fn mentions(
    name: &str,
    place: &str,
    path: &str,
    lines: &[&str],
    extractor: &mut Extractor,
    definitions: &mut Vec<Mention>,
    uses: &mut Vec<Mention>,
) {
    let numbered = (1u32..).zip(lines).filter(|(_, line)| has_word(line, name));
    let hits: Vec<(u32, &&str)> = numbered.collect();
    let Some(language) = Language::of(path).filter(|_| !hits.is_empty()) else { return };
    let outline = extractor.outline(language, &lines.join("\n"));
    let known: BTreeMap<u32, Usage> = outline
        .uses
        .iter()
        .filter(|used| used.name == name)
        .map(|used| (used.line, used.usage))
        .rev()
        .collect();
    for (number, line) in hits {
        let defined = outline.symbols.iter().find(|symbol| {
            symbol.name == name && symbol.name_line == number && symbol.kind != crate::syntax::Kind::Impl
        });
        let usage = known.get(&number).copied().unwrap_or(Usage::Reference);
        let shown = line.trim();
        let mention = Mention {
            path: place.to_owned(),
            line: number,
            usage: defined.map_or(usage.name(), |symbol| symbol.kind.name()).to_owned(),
            within: around(&outline, number, name),
            text: shown[..shown.floor_char_boundary(MAX_SHOWN_BYTES)].to_owned(),
        };
        if defined.is_some() { definitions.push(mention) } else { uses.push(mention) }
    }
}

/// The innermost symbol around a line that is not the name itself.
fn around(outline: &Outline, line: u32, name: &str) -> Option<String> {
    let symbols =
        outline.symbols.iter().filter(|symbol| (symbol.first_line..=symbol.last_line).contains(&line));
    let inner = symbols.filter(|symbol| !(symbol.name == name && symbol.name_line == line));
    inner.max_by_key(|symbol| symbol.first_line).map(|symbol| symbol.name.clone())
}

fn has_word(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

impl StructuredOutput for Uses {
    fn text(&self) -> String {
        let mut text = String::new();
        for (title, mentions) in [("defined", &self.definitions), ("used", &self.uses)] {
            for mention in mentions {
                let within = mention.within.as_ref().map_or(String::new(), |name| format!(" in {name}"));
                let Mention { path, line, usage, text: shown, .. } = mention;
                let _ = writeln!(text, "{title} {path}:{line} ({usage}{within}) {shown}");
            }
        }
        if text.is_empty() {
            text.push_str("no definition and no use found\n");
        }
        if self.truncated {
            let _ = writeln!(text, "({} of {} uses)", self.uses.len(), self.total);
        }
        if let Some(freshness) = &self.freshness {
            let _ = writeln!(text, "({freshness})");
        }
        text.truncate(text.trim_end().len());
        text
    }
}
