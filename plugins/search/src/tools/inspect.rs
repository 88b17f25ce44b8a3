//! `inspect`.

use std::fmt::Write as _;

use llmc_core::prelude::*;

use super::where_used::last_part;
use super::{budget, needs_index, place, shorten, unless_fresh};
use crate::files;
use crate::index::{self, Index};
use crate::limits::{MAX_TOKENS, MAX_WAIT};
use crate::store::{Reader, StoreError, SymbolRow};

/// About fifty tokens: the bound that is kept counts nearly twice as many as there are.
const DEFAULT_TOKENS: u32 = 100;
const LEAST_TOKENS: u32 = 50;
/// Neighbours that are named.
const MAX_NEIGHBOURS: u32 = 8;
const MAX_SYMBOLS: usize = 500;

/// Outlines a file or a symbol in a few words: what it is, what is in it, who calls it, what it calls.
#[arguments]
pub struct Inspect {
    /// A path such as `work:src/main.rs`, or the name of a symbol.
    target: String,
    /// Most tokens. Default: 100; more for a whole outline.
    #[schemars(range(min = LEAST_TOKENS, max = MAX_TOKENS))]
    max_tokens: Option<u32>,
}

/// An outline.
#[output(custom_text)]
pub struct Inspected {
    /// What it is.
    summary: String,
    /// What is in it, as `line kind name`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    called_by: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    calls: Vec<String>,
    /// Whether something was left out.
    truncated: bool,
    /// How up to date, if not fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<String>,
}

impl Tool for Inspect {
    const NAME: &'static str = "inspect";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Inspected;

    fn call(self, ctx: &Context) -> ToolResult<Inspected> {
        if self.target.trim().is_empty() {
            return Err(ToolError::invalid("`target` is required: a path or the name of a symbol"));
        }
        let index = index::of(ctx)?;
        let freshness = index.refresh_for(ctx, MAX_WAIT);
        let (root, path) = files::split(self.target.trim(), &index.roots)?;
        let found = index
            .ask(|reader| match reader.file(&root.name, path)? {
                Some((id, lines, language)) => {
                    let summary = format!("{} {language}, {lines} lines", place(&root.name, path));
                    Ok(Some(of_file(reader, id, summary)?))
                }
                None => of_symbol(reader, last_part(&self.target)),
            })
            .map_err(|error| needs_index(&freshness, &error))?;
        let mut inspected = found.ok_or_else(|| self.unknown(&index))?;
        inspected.freshness = unless_fresh(&freshness);
        let was_cut = std::mem::replace(&mut inspected.truncated, true);
        let dropped = shorten(&mut inspected, budget(self.max_tokens, DEFAULT_TOKENS), |inspected| {
            let Inspected { contains, called_by, calls, .. } = inspected;
            let mut lists = [contains, calls, called_by];
            lists.sort_by_key(|list| list.len());
            lists[2].pop().is_some()
        });
        inspected.truncated = was_cut || dropped > 0;
        Ok(inspected)
    }
}

impl Inspect {
    fn unknown(&self, index: &Index) -> ToolError {
        let roots: Vec<_> = index.roots.iter().map(|root| format!("`{}`", root.name)).collect();
        ToolError::failed(format!(
            "the index has no file and no symbol `{}` (roots: {}); `search_code` finds similar ones",
            self.target.trim(),
            roots.join(", ")
        ))
    }
}

fn of_file(reader: &Reader, file: i64, summary: String) -> Result<Inspected, StoreError> {
    let symbols = reader.symbols_of(file)?;
    let depth = |symbol: &SymbolRow| {
        let mut depth = 0;
        let mut parent = symbol.parent;
        while let Some(above) = parent.and_then(|id| symbols.iter().find(|symbol| symbol.id == id)) {
            (depth, parent) = (depth + 1, above.parent);
        }
        depth
    };
    let contains = symbols
        .iter()
        .take(MAX_SYMBOLS)
        .map(|symbol| {
            format!("{}{} {} {}", " ".repeat(depth(symbol)), symbol.name_line, symbol.kind, symbol.name)
        })
        .collect();
    Ok(Inspected {
        summary,
        contains,
        called_by: Vec::new(),
        calls: Vec::new(),
        truncated: symbols.len() > MAX_SYMBOLS,
        freshness: None,
    })
}

fn of_symbol(reader: &Reader, name: &str) -> Result<Option<Inspected>, StoreError> {
    let rows = reader.symbols_named(name, 20)?;
    let Some(row) = rows.first() else { return Ok(None) };
    let others = match rows.len() - 1 {
        0 => String::new(),
        count => format!(" (and {count} of the same name)"),
    };
    let SymbolRow { root, path, first_line, last_line, signature, .. } = row;
    let summary = format!("{}:{first_line}-{last_line} {signature}{others}", place(root, path));
    let inside = reader.symbols_of(row.file)?;
    let inside = inside.iter().filter(|symbol| symbol.parent == Some(row.id));
    let contains =
        inside.map(|symbol| format!("{} {} {}", symbol.name_line, symbol.kind, symbol.name)).collect();
    let mut called_by = Vec::new();
    for call in reader.callers(&row.name, MAX_NEIGHBOURS)? {
        let caller = if call.within > 0 { reader.symbol(call.within)? } else { None };
        called_by.extend(caller.map(|caller| caller.name));
    }
    called_by.dedup();
    let calls = reader.callees(row, MAX_NEIGHBOURS)?.into_iter().map(|call| call.name).collect();
    Ok(Some(Inspected { summary, contains, called_by, calls, truncated: false, freshness: None }))
}

impl StructuredOutput for Inspected {
    fn text(&self) -> String {
        let mut text = self.summary.clone();
        for line in &self.contains {
            let _ = write!(text, "\n {line}");
        }
        for (title, names) in [("called by", &self.called_by), ("calls", &self.calls)] {
            if !names.is_empty() {
                let _ = write!(text, "\n{title}: {}", names.join(", "));
            }
        }
        if self.truncated {
            text.push_str("\n(more with `max_tokens`)");
        }
        if let Some(freshness) = &self.freshness {
            let _ = write!(text, "\n({freshness})");
        }
        text
    }
}
