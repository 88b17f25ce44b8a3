//! `from llmc import tools` and its like: monty knows no module of that name, so the statements become assignments from
//! values that are put beside the code. Lines stay where they are.

use std::borrow::Cow;

use monty_types::{MontyClassInstance, MontyClassType, MontyObject, MontyUuid};
use ruff_python_ast::statement_visitor::{StatementVisitor, walk_stmt};
use ruff_python_ast::{Alias, Stmt};

const MODULE: &str = "llmc";
/// Name of the module's stand-in; code has no reason to use it.
const STAND_IN: &str = "__llmc";

/// Errors of the module. monty catches its own classes of exceptions only, so they are names of one of these.
const ERRORS: [&str; 3] = ["ToolError", "LimitError", "UnknownToolError"];

/// Replaces imports of the module.
pub(super) fn rewrite(code: &str) -> Cow<'_, str> {
    if !code.contains(MODULE) {
        return code.into();
    }
    // What is no Python is told by monty.
    let Ok(parsed) = ruff_python_parser::parse_module(code) else { return code.into() };
    let mut imports = Imports::default();
    imports.visit_body(&parsed.syntax().body);
    let mut rewritten = String::with_capacity(code.len() + 64);
    let mut end = 0;
    for import in imports.0 {
        rewritten.push_str(&code[end..import.start]);
        let lines = code[import.start..import.end].matches('\n').count();
        rewritten.push_str(&assignment(&import.bindings, lines));
        end = import.end;
    }
    rewritten.push_str(&code[end..]);
    rewritten.into()
}

/// What tells the module's stand-in from `tools`.
pub(super) fn module_id() -> MontyUuid {
    MontyUuid::from_u128(1)
}

/// Values that the code is run with.
pub(super) fn inputs() -> Vec<(String, MontyObject)> {
    let tools = instance("Tools", 2, Vec::new());
    vec![(STAND_IN.to_owned(), instance(MODULE, 1, vec![("tools", tools)]))]
}

/// An object whose methods are called here. The ids tell one from the other and mean nothing.
fn instance(name: &str, id: u128, attributes: Vec<(&str, MontyObject)>) -> MontyObject {
    let attributes: Vec<_> =
        attributes.into_iter().map(|(name, value)| (MontyObject::String(name.to_owned()), value)).collect();
    MontyObject::ClassInstance(Box::new(MontyClassInstance {
        class_type: MontyClassType {
            name: name.to_owned(),
            id: MontyUuid::from_u128(100 + id),
            host_defined: true,
            is_dataclass: false,
            attrs: Vec::new().into(),
        },
        instance_id: MontyUuid::from_u128(id),
        attrs: attributes.into(),
    }))
}

/// A statement that imports from the module, and what it binds: names and expressions.
struct Import {
    start: usize,
    end: usize,
    bindings: Vec<(String, String)>,
}

#[derive(Default)]
struct Imports(Vec<Import>);

impl<'a> StatementVisitor<'a> for Imports {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        let (range, bindings) = match statement {
            Stmt::ImportFrom(import)
                if import.level == 0
                    && import.module.as_ref().is_some_and(|module| module.as_str() == MODULE) =>
            {
                (import.range, import.names.iter().map(member).collect())
            }
            Stmt::Import(import) if import.names.iter().all(|alias| alias.name.as_str() == MODULE) => {
                (import.range, import.names.iter().map(module).collect())
            }
            other => return walk_stmt(self, other),
        };
        self.0.push(Import { start: range.start().to_usize(), end: range.end().to_usize(), bindings });
    }
}

fn member(alias: &Alias) -> (String, String) {
    let value = match alias.name.as_str() {
        name if ERRORS.contains(&name) => "RuntimeError".to_owned(),
        name => format!("{STAND_IN}.{name}"),
    };
    (bound(alias), value)
}

fn module(alias: &Alias) -> (String, String) {
    (bound(alias), STAND_IN.to_owned())
}

fn bound(alias: &Alias) -> String {
    alias.asname.as_ref().unwrap_or(&alias.name).as_str().to_owned()
}

/// `a, b = x, y` over as many lines as the import had.
fn assignment(bindings: &[(String, String)], line_breaks: usize) -> String {
    let names: Vec<_> = bindings.iter().map(|(name, _)| name.as_str()).collect();
    let values: Vec<_> = bindings.iter().map(|(_, value)| value.as_str()).collect();
    format!("{} = ({}{})", names.join(", "), values.join(", "), "\n".repeat(line_breaks))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_become_assignments_on_the_same_lines() {
        for (code, rewritten) in [
            ("from llmc import tools", "tools = (__llmc.tools)"),
            ("import llmc as l; l.tools", "l = (__llmc); l.tools"),
            (
                "if x:\n  from llmc import tools as t, ToolError",
                "if x:\n  t, ToolError = (__llmc.tools, RuntimeError)",
            ),
            ("from llmc import (\n  tools,\n)\n1/0", "tools = (__llmc.tools\n\n)\n1/0"),
        ] {
            assert_eq!(rewrite(code), rewritten);
        }
        for same in
            ["x = 'from llmc import tools'", "from llmc import", "import os", "from .llmc import x", "# llmc"]
        {
            assert_eq!(rewrite(same), same);
        }
    }
}
