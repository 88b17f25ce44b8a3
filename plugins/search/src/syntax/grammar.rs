//! What the nodes of each grammar mean, as data.

use super::{Kind, Language, Usage};

/// How to find the name of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// In this field.
    Field(&'static str),
    /// At the end of a chain of declarators, as in C.
    Declarator,
    /// The field `type`, without its parameters: Rust's `impl`.
    Type,
}

/// When a node is a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    /// Only outside of functions: constants of modules.
    Outside,
    /// Only with this field: `struct x { … }`, but not `struct x y`.
    Has(&'static str),
}

/// A node that defines something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Definition {
    pub(super) node: &'static str,
    pub(super) kind: Kind,
    pub(super) name: Name,
    pub(super) when: When,
}

/// A node that uses something: the name is that in `field`, or the node itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Using {
    pub(super) node: &'static str,
    pub(super) field: Option<&'static str>,
    pub(super) usage: Usage,
}

/// What is known of a grammar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grammar {
    pub(super) definitions: &'static [Definition],
    pub(super) uses: &'static [Using],
    /// Nodes below which every identifier is imported.
    pub(super) imports: &'static [&'static str],
}

const fn define(node: &'static str, kind: Kind) -> Definition {
    Definition { node, kind, name: Name::Field("name"), when: When::Always }
}

const fn called(node: &'static str, field: &'static str) -> Using {
    Using { node, field: Some(field), usage: Usage::Call }
}

const TYPE_IDENTIFIER: Using = Using { node: "type_identifier", field: None, usage: Usage::Type };

impl Definition {
    const fn named(self, name: Name) -> Self {
        Self { name, ..self }
    }

    const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }
}

const RUST: Grammar = Grammar {
    definitions: &[
        define("function_item", Kind::Function),
        define("function_signature_item", Kind::Function),
        define("struct_item", Kind::Class),
        define("enum_item", Kind::Class),
        define("union_item", Kind::Class),
        define("trait_item", Kind::Interface),
        define("mod_item", Kind::Module).when(When::Has("body")),
        define("type_item", Kind::Type),
        define("const_item", Kind::Constant).when(When::Outside),
        define("static_item", Kind::Constant).when(When::Outside),
        define("macro_definition", Kind::Macro),
        define("impl_item", Kind::Impl).named(Name::Type),
    ],
    uses: &[called("call_expression", "function"), called("macro_invocation", "macro"), TYPE_IDENTIFIER],
    imports: &["use_declaration"],
};

const PYTHON: Grammar = Grammar {
    definitions: &[
        define("function_definition", Kind::Function),
        define("class_definition", Kind::Class),
        define("assignment", Kind::Constant).named(Name::Field("left")).when(When::Outside),
    ],
    uses: &[called("call", "function")],
    imports: &["import_statement", "import_from_statement"],
};

const SCRIPT_USES: &[Using] =
    &[called("call_expression", "function"), called("new_expression", "constructor"), TYPE_IDENTIFIER];

const JAVASCRIPT: Grammar = Grammar {
    definitions: &[
        define("function_declaration", Kind::Function),
        define("generator_function_declaration", Kind::Function),
        define("method_definition", Kind::Function),
        define("class_declaration", Kind::Class),
        define("variable_declarator", Kind::Constant).when(When::Outside),
    ],
    uses: SCRIPT_USES,
    imports: &["import_statement"],
};

const TYPESCRIPT: Grammar = Grammar {
    definitions: &[
        define("function_declaration", Kind::Function),
        define("generator_function_declaration", Kind::Function),
        define("function_signature", Kind::Function),
        define("method_definition", Kind::Function),
        define("method_signature", Kind::Function),
        define("abstract_method_signature", Kind::Function),
        define("class_declaration", Kind::Class),
        define("abstract_class_declaration", Kind::Class),
        define("enum_declaration", Kind::Class),
        define("interface_declaration", Kind::Interface),
        define("internal_module", Kind::Module),
        define("type_alias_declaration", Kind::Type),
        define("variable_declarator", Kind::Constant).when(When::Outside),
    ],
    uses: SCRIPT_USES,
    imports: &["import_statement"],
};

const GO: Grammar = Grammar {
    definitions: &[
        define("function_declaration", Kind::Function),
        define("method_declaration", Kind::Function),
        define("type_spec", Kind::Class),
        define("type_alias", Kind::Type),
        define("const_spec", Kind::Constant).when(When::Outside),
        define("var_spec", Kind::Constant).when(When::Outside),
    ],
    uses: &[called("call_expression", "function"), TYPE_IDENTIFIER],
    imports: &["import_spec"],
};

const JAVA: Grammar = Grammar {
    definitions: &[
        define("class_declaration", Kind::Class),
        define("enum_declaration", Kind::Class),
        define("record_declaration", Kind::Class),
        define("interface_declaration", Kind::Interface),
        define("annotation_type_declaration", Kind::Interface),
        define("method_declaration", Kind::Function),
        define("constructor_declaration", Kind::Function),
    ],
    uses: &[
        called("method_invocation", "name"),
        called("object_creation_expression", "type"),
        TYPE_IDENTIFIER,
    ],
    imports: &["import_declaration"],
};

const C: Grammar = Grammar {
    definitions: &[
        define("function_definition", Kind::Function).named(Name::Declarator),
        define("struct_specifier", Kind::Class).when(When::Has("body")),
        define("union_specifier", Kind::Class).when(When::Has("body")),
        define("enum_specifier", Kind::Class).when(When::Has("body")),
        define("type_definition", Kind::Type).named(Name::Declarator),
        define("preproc_def", Kind::Macro),
        define("preproc_function_def", Kind::Macro),
    ],
    uses: &[called("call_expression", "function"), TYPE_IDENTIFIER],
    imports: &["preproc_include"],
};

const CPP: Grammar = Grammar {
    definitions: &[
        define("function_definition", Kind::Function).named(Name::Declarator),
        define("class_specifier", Kind::Class).when(When::Has("body")),
        define("struct_specifier", Kind::Class).when(When::Has("body")),
        define("union_specifier", Kind::Class).when(When::Has("body")),
        define("enum_specifier", Kind::Class).when(When::Has("body")),
        define("namespace_definition", Kind::Module),
        define("alias_declaration", Kind::Type),
        define("concept_definition", Kind::Interface),
        define("type_definition", Kind::Type).named(Name::Declarator),
        define("preproc_def", Kind::Macro),
        define("preproc_function_def", Kind::Macro),
    ],
    uses: &[called("call_expression", "function"), called("new_expression", "type"), TYPE_IDENTIFIER],
    imports: &["preproc_include"],
};

/// The grammar of a language, if it has one.
pub(super) fn of(language: Language) -> Option<(Grammar, tree_sitter::Language)> {
    Some(match language {
        Language::Rust => (RUST, tree_sitter_rust::LANGUAGE.into()),
        Language::Python => (PYTHON, tree_sitter_python::LANGUAGE.into()),
        Language::JavaScript => (JAVASCRIPT, tree_sitter_javascript::LANGUAGE.into()),
        Language::TypeScript => (TYPESCRIPT, tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into()),
        Language::Tsx => (TYPESCRIPT, tree_sitter_typescript::LANGUAGE_TSX.into()),
        Language::Go => (GO, tree_sitter_go::LANGUAGE.into()),
        Language::Java => (JAVA, tree_sitter_java::LANGUAGE.into()),
        Language::C => (C, tree_sitter_c::LANGUAGE.into()),
        Language::Cpp => (CPP, tree_sitter_cpp::LANGUAGE.into()),
        Language::Markdown | Language::Text => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A misspelt node would silently find nothing.
    #[test]
    fn every_node_and_field_exists_in_its_grammar() {
        let all = [
            Language::Rust,
            Language::Python,
            Language::JavaScript,
            Language::TypeScript,
            Language::Tsx,
            Language::Go,
            Language::Java,
            Language::C,
            Language::Cpp,
        ];
        for language in all {
            let (grammar, known) = of(language).unwrap();
            let node = |name: &str| assert!(known.id_for_node_kind(name, true) != 0, "{language:?} {name}");
            let field = |name: &str| assert!(known.field_id_for_name(name).is_some(), "{language:?} {name}");
            for definition in grammar.definitions {
                node(definition.node);
                match definition.name {
                    Name::Field(name) => field(name),
                    Name::Declarator => field("declarator"),
                    Name::Type => field("type"),
                }
                if let When::Has(name) = definition.when {
                    field(name);
                }
            }
            for using in grammar.uses.iter().filter(|using| {
                // JavaScript shares its list with TypeScript, and has no types.
                language != Language::JavaScript || using.usage != Usage::Type
            }) {
                node(using.node);
                using.field.into_iter().for_each(field);
            }
            grammar.imports.iter().for_each(|name| node(name));
        }
    }
}
