//! From the text of a file to its outline.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use tree_sitter::{Node, ParseOptions, Parser, Tree, TreeCursor};

use super::grammar::{self, Definition, Grammar, Name, Using, When};
use super::{Kind, Language, Outline, Symbol, Usage, Use, markdown};
use crate::limits::{MAX_PARSE_TIME, MAX_SYNTAX_BYTES};

/// Longest signature and name in bytes.
const MAX_SIGNATURE_BYTES: usize = 200;
const MAX_NAME_BYTES: usize = 200;
/// Declarators inside each other, and parts of a path, that are looked into.
const MAX_STEPS: usize = 16;

/// Keeps a parser per language.
#[derive(Default)]
pub(crate) struct Extractor {
    parsers: BTreeMap<Language, Option<(Roles, Parser)>>,
}

impl Extractor {
    /// What a file says; nothing where its language has no syntax here, or where parsing takes too long.
    pub(crate) fn outline(&mut self, language: Language, text: &str) -> Outline {
        if language == Language::Markdown {
            return markdown::outline(text);
        }
        if text.len() > MAX_SYNTAX_BYTES {
            return Outline::default();
        }
        let known = self.parsers.entry(language).or_insert_with(|| {
            let (grammar, language) = grammar::of(language)?;
            let mut parser = Parser::new();
            parser.set_language(&language).ok()?;
            Some((roles(&grammar, &language), parser))
        });
        let Some((roles, parser)) = known else { return Outline::default() };
        match parse(parser, text) {
            Some(tree) => Walk::new(roles, text).run(&tree),
            None => Outline::default(),
        }
    }
}

/// What a node means: most mean nothing.
#[derive(Clone, Debug, Default)]
struct Role {
    definition: Option<Definition>,
    uses: Vec<Using>,
    is_import: bool,
    /// Below an import it is a name.
    is_name: bool,
}

/// The role of each kind of node, by its number.
type Roles = Vec<Role>;

fn roles(grammar: &Grammar, language: &tree_sitter::Language) -> Roles {
    let role = |id: usize| {
        let kind = u16::try_from(id).ok().and_then(|id| language.node_kind_for_id(id)).unwrap_or_default();
        Role {
            definition: grammar.definitions.iter().find(|definition| definition.node == kind).copied(),
            uses: grammar.uses.iter().filter(|using| using.node == kind).copied().collect(),
            is_import: grammar.imports.contains(&kind),
            is_name: kind.ends_with("identifier")
                || matches!(kind, "string_literal" | "system_lib_string" | "interpreted_string_literal"),
        }
    };
    (0..language.node_kind_count()).map(role).collect()
}

fn parse(parser: &mut Parser, text: &str) -> Option<Tree> {
    let begun = Instant::now();
    let mut in_time = |_: &tree_sitter::ParseState| match begun.elapsed() < MAX_PARSE_TIME {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let bytes = text.as_bytes();
    let options = ParseOptions::new().progress_callback(&mut in_time);
    let tree =
        parser.parse_with_options(&mut |at, _| bytes.get(at..).unwrap_or_default(), None, Some(options));
    if tree.is_none() {
        // Else the next file would go on with this one.
        parser.reset();
    }
    tree
}

/// A walk through a tree, without recursion: trees can be as deep as a file is long.
struct Walk<'a> {
    roles: &'a Roles,
    text: &'a str,
    outline: Outline,
    /// Symbols around the current node: depth of their node, and index.
    around: Vec<(usize, usize)>,
    /// Depth of the import that the current node is part of.
    import: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(roles: &'a Roles, text: &'a str) -> Self {
        Self { roles, text, outline: Outline::default(), around: Vec::new(), import: None }
    }

    fn run(mut self, tree: &Tree) -> Outline {
        let mut cursor = tree.walk();
        let mut depth = 0;
        loop {
            self.enter(&cursor, depth);
            if cursor.goto_first_child() {
                depth += 1;
                continue;
            }
            loop {
                self.leave(depth);
                if cursor.goto_next_sibling() {
                    break;
                }
                if !cursor.goto_parent() {
                    return self.outline;
                }
                depth -= 1;
            }
        }
    }

    fn enter(&mut self, cursor: &TreeCursor<'_>, depth: usize) {
        let node = cursor.node();
        if !node.is_named() {
            return;
        }
        let roles = self.roles;
        let Some(role) = roles.get(usize::from(node.kind_id())) else { return };
        if let Some(definition) = &role.definition {
            self.define(definition, node, depth);
        }
        if role.is_import {
            self.import = self.import.or(Some(depth));
        }
        if self.import.is_some() {
            if role.is_name {
                self.import_of(node);
            }
            return;
        }
        for using in &role.uses {
            let named = match using.field {
                Some(field) => node.child_by_field_name(field).and_then(last_name),
                None => Some(node),
            };
            let is_own_name = named.is_some_and(|named| self.is_own_name(named));
            if let Some(named) = named.filter(|_| !is_own_name) {
                self.note_use(named, using.usage);
            }
        }
    }

    fn leave(&mut self, depth: usize) {
        while self.around.pop_if(|(at, _)| *at >= depth).is_some() {}
        if self.import.is_some_and(|at| at >= depth) {
            self.import = None;
        }
    }

    fn define(&mut self, definition: &Definition, node: Node<'_>, depth: usize) {
        let wanted = match definition.when {
            When::Always => true,
            When::Outside => !self.in_function(),
            When::Has(field) => node.child_by_field_name(field).is_some(),
        };
        let name = match definition.name {
            _ if !wanted => None,
            Name::Field(field) => node.child_by_field_name(field).filter(|name| is_plain_name(*name)),
            Name::Declarator => node.child_by_field_name("declarator").and_then(declared),
            Name::Type => node.child_by_field_name("type").and_then(last_name),
        };
        let Some(name) = name else { return };
        let text = self.text_of(name);
        if text.is_empty() || text.len() > MAX_NAME_BYTES {
            return;
        }
        let mut kind = definition.kind;
        if kind == Kind::Constant && is_function_value(node) {
            kind = Kind::Function;
        }
        let outer = outermost(node);
        self.outline.symbols.push(Symbol {
            name: text.to_owned(),
            kind,
            first_line: line(outer.start_position().row),
            last_line: last_line(outer),
            name_line: line(name.start_position().row),
            parent: self.around.last().map(|(_, index)| *index),
            signature: self.signature(node),
        });
        self.around.push((depth, self.outline.symbols.len() - 1));
    }

    fn import_of(&mut self, node: Node<'_>) {
        // Of a path, each name is a node of its own.
        if node.named_child_count() == 0 || node.kind().ends_with("literal") {
            self.note_use(node, Usage::Import);
        }
    }

    fn note_use(&mut self, named: Node<'_>, usage: Usage) {
        let name = self.text_of(named).trim_matches(['"', '<', '>', '\'']);
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return;
        }
        self.outline.uses.push(Use {
            name: name.to_owned(),
            usage,
            line: line(named.start_position().row),
            within: self.around.last().map(|(_, index)| *index),
        });
    }

    /// Whether a node is the name of the definition that it stands in.
    fn is_own_name(&self, node: Node<'_>) -> bool {
        let Some((_, index)) = self.around.last() else { return false };
        let symbol = &self.outline.symbols[*index];
        symbol.kind != Kind::Impl
            && symbol.name_line == line(node.start_position().row)
            && symbol.name == self.text_of(node)
    }

    fn in_function(&self) -> bool {
        self.around.iter().any(|(_, index)| self.outline.symbols[*index].kind == Kind::Function)
    }

    fn text_of(&self, node: Node<'_>) -> &'a str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    /// The text up to the body, in one line.
    fn signature(&self, node: Node<'_>) -> String {
        let end = node.child_by_field_name("body").map_or(node.end_byte(), |body| body.start_byte());
        let text = self.text.get(node.start_byte()..end).unwrap_or_default();
        let mut signature = String::new();
        for word in text.split_whitespace() {
            if signature.len() + word.len() > MAX_SIGNATURE_BYTES {
                signature.push('…');
                break;
            }
            if !signature.is_empty() {
                signature.push(' ');
            }
            signature.push_str(word);
        }
        signature.trim_end_matches([' ', '{', ':', ';']).to_owned()
    }
}

/// With its decorators, attributes and `export`.
fn outermost(node: Node<'_>) -> Node<'_> {
    let mut outer = node;
    while let Some(parent) = outer.parent() {
        let wraps = matches!(
            parent.kind(),
            "decorated_definition" | "export_statement" | "template_declaration" | "lexical_declaration"
        );
        if !wraps {
            break;
        }
        outer = parent;
    }
    outer
}

/// Whether a constant is a function: `const f = () => …`.
fn is_function_value(node: Node<'_>) -> bool {
    node.child_by_field_name("value")
        .is_some_and(|value| matches!(value.kind(), "arrow_function" | "function_expression" | "function"))
}

/// A name and not a pattern or an expression.
fn is_plain_name(node: Node<'_>) -> bool {
    let kind = node.kind();
    kind.ends_with("identifier") || matches!(kind, "string" | "name")
}

/// The last name of an expression or path: `d` in `a.b::c.d`.
fn last_name(node: Node<'_>) -> Option<Node<'_>> {
    let mut node = node;
    for _ in 0..MAX_STEPS {
        let kind = node.kind();
        if kind == "identifier" || (kind.ends_with("identifier") && node.named_child_count() == 0) {
            return Some(node);
        }
        let fields = ["name", "field", "property", "attribute", "function", "type"];
        node = fields.iter().find_map(|field| node.child_by_field_name(field))?;
    }
    None
}

/// The name that a declarator of C declares.
fn declared(node: Node<'_>) -> Option<Node<'_>> {
    let mut node = node;
    for _ in 0..MAX_STEPS {
        match node.kind() {
            "qualified_identifier" | "template_function" => node = node.child_by_field_name("name")?,
            kind if kind.ends_with("identifier") || matches!(kind, "destructor_name" | "operator_name") => {
                return Some(node);
            }
            "parenthesized_declarator" | "reference_declarator" => node = node.named_child(0)?,
            _ => node = node.child_by_field_name("declarator")?,
        }
    }
    None
}

fn line(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX - 1) + 1
}

/// A node that ends at the start of a line does not reach into it.
fn last_line(node: Node<'_>) -> u32 {
    let end = node.end_position();
    let row = if end.column == 0 && end.row > node.start_position().row { end.row - 1 } else { end.row };
    line(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(language: Language, text: &str) -> (Vec<String>, Vec<String>) {
        let Outline { symbols, uses } = Extractor::default().outline(language, text);
        let parent = |index: usize| symbols[index].name.clone();
        let symbol = |symbol: &Symbol| {
            let within = symbol.parent.map_or(String::new(), |index| format!(" in {}", parent(index)));
            format!(
                "{} {} {}-{}{within}",
                symbol.kind.name(),
                symbol.name,
                symbol.first_line,
                symbol.last_line
            )
        };
        let used = |used: &Use| {
            let within = used.within.map_or(String::new(), |index| format!(" in {}", parent(index)));
            format!("{} {}{within}", used.usage.name(), used.name)
        };
        (symbols.iter().map(symbol).collect(), uses.iter().map(used).collect())
    }

    #[test]
    fn rust() {
        let (symbols, uses) = outline(
            Language::Rust,
            "use a::{B, c};\nstruct S { x: B }\nimpl<T> S<T> {\n    /// Doc.\n    fn run(&self) -> u8 {\n        \
             self.helper();\n        c::go::<u8>(1);\n        println!(\"x\");\n    }\n}\nconst N: u8 = 1;\n",
        );
        assert_eq!(symbols, ["class S 2-2", "impl S 3-10", "function run 5-9 in S", "constant N 11-11"]);
        for expected in [
            "import B",
            "import c",
            "type B in S",
            "call helper in run",
            "call go in run",
            "call println in run",
        ] {
            assert!(uses.iter().any(|found| found == expected), "{expected}: {uses:?}");
        }
    }

    #[test]
    fn python() {
        let (symbols, uses) = outline(
            Language::Python,
            "from a.b import C as D\nX = 1\n@wrap\nclass K(D):\n    def go(self):\n        y = 2\n        self.other(D())\n",
        );
        assert_eq!(symbols, ["constant X 2-2", "class K 3-7", "function go 5-7 in K"]);
        for expected in ["import C", "call other in go", "call D in go"] {
            assert!(uses.iter().any(|found| found == expected), "{expected}: {uses:?}");
        }
    }

    #[test]
    fn scripts() {
        let text = "import { a } from './m';\nexport const f = () => a();\nexport class K {\n  go() { new Q(); }\n}\n";
        for language in [Language::JavaScript, Language::TypeScript, Language::Tsx] {
            let (symbols, uses) = outline(language, text);
            assert_eq!(symbols, ["function f 2-2", "class K 3-5", "function go 4-4 in K"], "{language:?}");
            for expected in ["import a", "call a in f", "call Q in go"] {
                assert!(uses.iter().any(|found| found == expected), "{expected}: {uses:?}");
            }
        }
        let (symbols, _) =
            outline(Language::TypeScript, "interface I { m(): void }\ntype T = I;\nenum E { A }\n");
        assert_eq!(symbols, ["interface I 1-1", "function m 1-1 in I", "type T 2-2", "class E 3-3"]);
    }

    #[test]
    fn go_and_java() {
        let (symbols, uses) = outline(
            Language::Go,
            "package p\nimport \"fmt\"\ntype S struct{}\nfunc (s *S) Run() { fmt.Println() }\n",
        );
        assert_eq!(symbols, ["class S 3-3", "function Run 4-4"]);
        assert!(uses.contains(&"import fmt".to_owned()) && uses.contains(&"call Println in Run".to_owned()));
        let (symbols, uses) = outline(
            Language::Java,
            "import a.B;\nclass K {\n  K() { new B(); }\n  int go() { return help(1); }\n}\n",
        );
        assert_eq!(symbols, ["class K 2-5", "function K 3-3 in K", "function go 4-4 in K"]);
        for expected in ["import B", "call B in K", "call help in go"] {
            assert!(uses.iter().any(|found| found == expected), "{expected}: {uses:?}");
        }
    }

    #[test]
    fn c_and_cpp() {
        let (symbols, uses) = outline(
            Language::C,
            "#include <stdio.h>\n#define N 1\ntypedef struct s { int x; } s_t;\nstatic char *f(int a)\n{\n  return g(a);\n}\n",
        );
        assert_eq!(symbols, ["macro N 2-2", "type s_t 3-3", "class s 3-3 in s_t", "function f 4-7"]);
        assert!(uses.contains(&"import stdio.h".to_owned()) && uses.contains(&"call g in f".to_owned()));
        let (symbols, _) = outline(
            Language::Cpp,
            "namespace n {\nclass K { void m() { h(); } };\nvoid K::out() {}\ntemplate <class T>\nT id(T t) { return t; }\n}\n",
        );
        assert_eq!(
            symbols,
            [
                "module n 1-6",
                "class K 2-2 in n",
                "function m 2-2 in K",
                "function out 3-3 in n",
                "function id 4-5 in n"
            ]
        );
    }

    #[test]
    fn broken_and_deep_files_give_what_they_can() {
        let (symbols, _) = outline(Language::Rust, "fn a() {}\nfn b( {{{\nfn c() {}\n");
        assert!(symbols.iter().any(|symbol| symbol.starts_with("function a")), "{symbols:?}");
        let deep = format!("fn f() {{ {}1{} }}\n", "(".repeat(20_000), ")".repeat(20_000));
        let _ = outline(Language::Rust, &deep);
        let binary: String = (0..5_000u32).filter_map(|n| char::from_u32(n * 7)).collect();
        let _ = outline(Language::Cpp, &binary);
    }
}
