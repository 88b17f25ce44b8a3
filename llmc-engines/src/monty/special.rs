//! Special methods that monty never calls. Code with one would fail in strange words or, worse, do something else: an
//! object with `__bool__` is always true there. So such a class is refused before anything runs, as inheritance is.

use ruff_python_ast::statement_visitor::{StatementVisitor, walk_stmt};
use ruff_python_ast::{Stmt, StmtFunctionDef};

/// Those that it calls.
const CALLED: [&str; 11] = [
    "__contains__",
    "__enter__",
    "__eq__",
    "__exit__",
    "__hash__",
    "__index__",
    "__init__",
    "__iter__",
    "__next__",
    "__repr__",
    "__str__",
];

/// The first method that would never be called: what it is, and its line.
pub(super) fn first_ignored(code: &str) -> Option<(String, u64)> {
    if !code.contains("def __") {
        return None;
    }
    // What is no Python is told by monty.
    let parsed = ruff_python_parser::parse_module(code).ok()?;
    let mut classes = Classes::default();
    classes.visit_body(&parsed.syntax().body);
    let (what, offset) = classes.0?;
    let line = code[..offset].matches('\n').count() + 1;
    Some((what, u64::try_from(line).unwrap_or(u64::MAX)))
}

#[derive(Default)]
struct Classes(Option<(String, usize)>);

impl<'a> StatementVisitor<'a> for Classes {
    fn visit_stmt(&mut self, statement: &'a Stmt) {
        if let (Stmt::ClassDef(class), None) = (statement, &self.0) {
            let ignored =
                class.body.iter().filter_map(Stmt::as_function_def_stmt).find(|method| is_ignored(method));
            self.0 = ignored.map(|method| {
                let what = format!("the special method `{}` (class `{}`)", method.name, class.name);
                (what, method.name.range.start().to_usize())
            });
        }
        walk_stmt(self, statement);
    }
}

fn is_ignored(method: &StmtFunctionDef) -> bool {
    let name = method.name.as_str();
    name.starts_with("__") && name.ends_with("__") && !CALLED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_one_is_named_with_its_line() {
        let code = "x = 1\ndef f():\n    class A:\n        def __init__(self): pass\n        def __bool__(self): return False\n\
                    class B:\n    def __len__(self): return 0\n";
        let what = "the special method `__bool__` (class `A`)".to_owned();
        assert_eq!(first_ignored(code), Some((what, 5)));
        for fine in [
            "class A:\n    def __init__(self): pass\n    def __private(self): pass\n    def len(self): return 0",
            "def __len__(): pass",
            "x = 'class A:\\n    def __len__(self): pass'",
            "class A:\n    def __len__(self: pass",
        ] {
            assert_eq!(first_ignored(fine), None, "{fine}");
        }
    }
}
