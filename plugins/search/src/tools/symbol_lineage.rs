//! `symbol_lineage`.

use std::collections::HashSet;
use std::fmt::Write as _;

use llmc_core::prelude::*;

use super::where_used::last_part;
use super::{budget, needs_index, place, shorten, unless_fresh};
use crate::index;
use crate::limits::{DEFAULT_TOKENS, MAX_TOKENS, MAX_WAIT, MIN_TOKENS};
use crate::store::{Lineage, Reader, StoreError, SymbolRow};

/// Deepest that is gone, and most names of one step.
const MAX_DEPTH: u32 = 4;
const MAX_WIDTH: u32 = 30;
/// Names of all steps together.
const MAX_STEPS: usize = 400;
/// A name with more definitions than this could mean anything.
const MAX_DEFINITIONS: u32 = 5;

/// Tells who calls a function and what it calls, several steps deep. Goes by name: same-named functions are one.
#[arguments]
pub struct SymbolLineage {
    /// Its name.
    name: String,
    /// Which way.
    #[serde(default)]
    direction: Direction,
    /// Steps. Default: 1.
    #[schemars(range(min = 1, max = MAX_DEPTH))]
    depth: Option<u32>,
    /// Most tokens. Default: 4000.
    #[schemars(range(min = MIN_TOKENS, max = MAX_TOKENS))]
    max_tokens: Option<u32>,
}

/// Which way to go.
#[arguments]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Both,
    Callers,
    Callees,
}

/// Who calls whom.
#[output(custom_text)]
pub struct Lines {
    definitions: Vec<Step>,
    callers: Vec<Step>,
    callees: Vec<Step>,
    truncated: bool,
    /// How up to date, if not fresh.
    #[serde(skip_serializing_if = "Option::is_none")]
    freshness: Option<String>,
}

/// A function in the line.
#[output]
struct Step {
    /// Steps from the name.
    depth: u32,
    name: String,
    /// Where it calls, is called or defined.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

impl Tool for SymbolLineage {
    const NAME: &'static str = "symbol_lineage";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Lines;

    fn call(self, ctx: &Context) -> ToolResult<Lines> {
        let name = last_part(&self.name);
        if name.is_empty() {
            return Err(ToolError::invalid(
                "`name` is required: that of a function, such as `spawn_blocking`",
            ));
        }
        let depth = self.depth.unwrap_or(1).clamp(1, MAX_DEPTH);
        let index = index::of(ctx)?;
        let freshness = index.refresh_for(ctx, MAX_WAIT);
        let asked = index.ask(|reader| {
            let definitions = definitions(reader, name)?;
            let mut trace =
                Trace { reader, seen: HashSet::from([name.to_owned()]), steps: Vec::new(), cut: false };
            if self.direction != Direction::Callees {
                trace.callers(name, 1, depth)?;
            }
            let (callers, cut) = (std::mem::take(&mut trace.steps), trace.cut);
            trace.seen = HashSet::from([name.to_owned()]);
            if self.direction != Direction::Callers {
                trace.callees(&definitions, 1, depth)?;
            }
            Ok((definitions, callers, trace.steps, cut || trace.cut))
        });
        let (definitions, callers, callees, cut) = asked.map_err(|error| needs_index(&freshness, &error))?;
        let definitions = definitions.iter().map(|row| step(0, row)).collect();
        let mut lines =
            Lines { definitions, callers, callees, truncated: true, freshness: unless_fresh(&freshness) };
        let dropped = shorten(&mut lines, budget(self.max_tokens, DEFAULT_TOKENS), |lines| {
            let longer = if lines.callers.len() > lines.callees.len() {
                &mut lines.callers
            } else {
                &mut lines.callees
            };
            longer.pop().or_else(|| lines.definitions.pop()).is_some()
        });
        lines.truncated = cut || dropped > 0;
        Ok(lines)
    }
}

/// Definitions of exactly that name.
fn definitions(reader: &Reader, name: &str) -> Result<Vec<SymbolRow>, StoreError> {
    let mut rows = reader.symbols_named(name, MAX_DEFINITIONS * 4)?;
    rows.retain(|row| row.name == name && !matches!(row.kind.as_str(), "heading" | "impl"));
    rows.truncate(MAX_DEFINITIONS as usize);
    Ok(rows)
}

fn step(depth: u32, row: &SymbolRow) -> Step {
    Step { depth, name: row.name.clone(), path: Some(place(&row.root, &row.path)), line: Some(row.name_line) }
}

struct Trace<'a> {
    reader: &'a Reader,
    /// Names that were gone to: a circle ends.
    seen: HashSet<String>,
    steps: Vec<Step>,
    cut: bool,
}

impl Trace<'_> {
    fn callers(&mut self, name: &str, depth: u32, deepest: u32) -> Result<(), StoreError> {
        let calls = self.reader.callers(name, MAX_WIDTH + 1)?;
        self.cut |= calls.len() > MAX_WIDTH as usize;
        for Lineage { within, line, .. } in calls.into_iter().take(MAX_WIDTH as usize) {
            if self.steps.len() >= MAX_STEPS {
                self.cut = true;
                break;
            }
            let symbol = if within > 0 { self.reader.symbol(within)? } else { None };
            let Some(symbol) = symbol else {
                if let Some((root, path, _)) = self.reader.path_of(-within)? {
                    let place = place(&root, &path);
                    self.steps.push(Step {
                        depth,
                        name: "(file)".into(),
                        path: Some(place),
                        line: Some(line),
                    });
                }
                continue;
            };
            let mut caller = step(depth, &symbol);
            caller.line = Some(line);
            self.steps.push(caller);
            if depth < deepest && symbol.kind == "function" && self.seen.insert(symbol.name.clone()) {
                self.callers(&symbol.name, depth + 1, deepest)?;
            }
        }
        Ok(())
    }

    fn callees(&mut self, of: &[SymbolRow], depth: u32, deepest: u32) -> Result<(), StoreError> {
        for symbol in of {
            let calls = self.reader.callees(symbol, MAX_WIDTH + 1)?;
            self.cut |= calls.len() > MAX_WIDTH as usize;
            for Lineage { name, .. } in calls.into_iter().take(MAX_WIDTH as usize) {
                if self.steps.len() >= MAX_STEPS {
                    self.cut = true;
                    return Ok(());
                }
                if !self.seen.insert(name.clone()) {
                    continue;
                }
                let known = definitions(self.reader, &name)?;
                match known.first() {
                    Some(row) => self.steps.push(step(depth, row)),
                    None => self.steps.push(Step { depth, name, path: None, line: None }),
                }
                if depth < deepest {
                    self.callees(&known[..known.len().min(1)], depth + 1, deepest)?;
                }
            }
        }
        Ok(())
    }
}

impl StructuredOutput for Lines {
    fn text(&self) -> String {
        let mut text = String::new();
        for (title, steps) in
            [("defined", &self.definitions), ("called by", &self.callers), ("calls", &self.callees)]
        {
            if !steps.is_empty() {
                let _ = writeln!(text, "{title}:");
            }
            for Step { depth, name, path, line } in steps {
                let indent = "  ".repeat(*depth as usize + 1);
                let place =
                    path.as_ref().zip(*line).map_or(String::new(), |(path, line)| format!(" {path}:{line}"));
                let _ = writeln!(text, "{indent}{name}{place}");
            }
        }
        if text.is_empty() {
            text.push_str("no function of that name, and no call of it\n");
        }
        if self.truncated {
            text.push_str("(there is more)\n");
        }
        if let Some(freshness) = &self.freshness {
            let _ = writeln!(text, "({freshness})");
        }
        text.truncate(text.trim_end().len());
        text
    }
}
