//! What a source file defines and uses, by its syntax tree.
//!
//! A file that cannot be parsed completely still gives what could be: tree-sitter goes on after an error. Nothing here
//! knows of scopes or types, so a use is a name at a place, not a proof.

mod extract;
mod grammar;
mod language;
mod markdown;

pub(crate) use extract::Extractor;
pub(crate) use language::Language;

/// What a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// A function or method.
    Function,
    /// A class, struct, enum, union or record.
    Class,
    /// A trait, interface or protocol.
    Interface,
    /// A module or namespace.
    Module,
    /// A type with another name.
    Type,
    /// A constant, static or variable of a module.
    Constant,
    /// A macro.
    Macro,
    /// What is implemented for a type: Rust's `impl`.
    Impl,
    /// A heading.
    Heading,
}

impl Kind {
    /// As it stands in results and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Class => "class",
            Self::Interface => "interface",
            Self::Module => "module",
            Self::Type => "type",
            Self::Constant => "constant",
            Self::Macro => "macro",
            Self::Impl => "impl",
            Self::Heading => "heading",
        }
    }
}

/// How a name is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Usage {
    /// It is called, instantiated or expanded.
    Call,
    /// It is imported.
    Import,
    /// It is a type of something.
    Type,
    /// It stands there otherwise.
    Reference,
}

impl Usage {
    /// As it stands in results and in the database.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Import => "import",
            Self::Type => "type",
            Self::Reference => "reference",
        }
    }
}

/// A definition. Lines count from 1, the last one is part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) first_line: u32,
    pub(crate) last_line: u32,
    /// Line of the name.
    pub(crate) name_line: u32,
    /// Index of the symbol around it.
    pub(crate) parent: Option<usize>,
    /// Its first line, without what follows the opening brace.
    pub(crate) signature: String,
}

/// A name where it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) name: String,
    pub(crate) usage: Usage,
    pub(crate) line: u32,
    /// Index of the innermost symbol around it.
    pub(crate) within: Option<usize>,
}

/// Everything that a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) symbols: Vec<Symbol>,
    pub(crate) uses: Vec<Use>,
}
