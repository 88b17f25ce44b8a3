//! What the subset lacks, in words that tell the way out.

use monty_types::ExcType;

use super::cpython;

/// Something that is not there, and what to write in its place, if there is such a thing.
type Lack = (String, Option<&'static str>);

/// Messages of `TypeError`s for what CPython can do: how they begin, what is lacking, and what to write in its place.
/// Code cannot cause them in CPython, but for the last one.
const TYPE_ERRORS: [(&str, &str, Option<&str>); 12] = [
    ("unsupported operand type(s) for %: 'str' and ", "`%` formatting", Some(FORMAT)),
    ("unsupported operand type(s) for %: 'bytes' and ", "`%` formatting", Some("encode an f-string")),
    ("unsupported operand type(s) for |: 'dict' and 'dict'", "`|` of dicts", Some("write `{**a, **b}`")),
    ("unsupported operand type(s) for |=: 'dict' and 'dict'", "`|=` of dicts", Some("use `a.update(b)`")),
    ("unsupported operand type(s) for |: 'type' and ", "`|` of types", Some("use a tuple of types")),
    (
        "list indices must be integers or slices, not slice",
        "assignment to a slice",
        Some("write `x = x[:a] + new + x[b:]`"),
    ),
    (
        "callable replacement is not yet supported in re.sub()",
        "a function as the replacement of `re.sub`",
        Some("loop over `re.finditer`"),
    ),
    ("print() 'file' argument is not supported", "`print` with `file`", Some("leave `file` out")),
    (
        "JSONEncoder.__init__() got an unexpected keyword argument",
        "this argument of `json.dumps`",
        Some("convert the value before"),
    ),
    ("cannot convert 'list' object to bytes", "`bytes` of a list", Some("join what `chr(n).encode()` gives")),
    ("cannot create 'object' instances", "`object()`", Some("use an instance of a class of your own")),
    (
        "'list' object is not an iterator",
        "`next` on a generator expression, which is a list there,",
        Some("write `next(iter(...))`"),
    ),
];
const FORMAT: &str = "use an f-string or `str.format`";

/// Names of types that compare as sets do.
const SETS: [&str; 4] = ["set", "frozenset", "dict_keys", "dict_items"];

/// The message of an error that is due to the subset and not to the code.
pub(super) fn explain(kind: ExcType, message: &str, code: &str) -> Option<String> {
    let (what, instead) = match kind {
        ExcType::NotImplementedError => not_implemented(message, code)?,
        ExcType::ModuleNotFoundError if message.starts_with("No module named ") => {
            (format!("module `{}`", quoted(message, 0)), None)
        }
        ExcType::ImportError if message.starts_with("cannot import name ") => {
            (format!("`{}` of module `{}`", quoted(message, 0), quoted(message, 1)), None)
        }
        ExcType::AttributeError => attribute(message)?,
        ExcType::TypeError => type_error(message)?,
        ExcType::NameError if cpython::has_builtin(quoted(message, 0)) => {
            (format!("the built-in `{}`", quoted(message, 0)), None)
        }
        _ => return None,
    };
    Some(sentence(&what, instead))
}

/// Says that something is not there, and what to do.
pub(super) fn sentence(what: &str, instead: Option<&str>) -> String {
    let instead = instead.map(|instead| format!("{instead}, or ")).unwrap_or_default();
    format!(
        "{what} is not supported by the embedded Python subset (monty); {instead}install CPython 3.9+ for full Python, \
         or use language: \"javascript\""
    )
}

fn not_implemented(message: &str, code: &str) -> Option<Lack> {
    if let Some(feature) = message.strip_prefix("The monty syntax parser does not yet support ") {
        return Some((format!("the syntax of {feature}"), None));
    }
    if message.starts_with("Wildcard imports ") {
        return Some(("`from ... import *`".to_owned(), Some("name what is imported")));
    }
    if let Some((place, call)) =
        message.split_once(": ").filter(|(_, call)| call.ends_with("in this context"))
    {
        let called = quoted(call, 0);
        return Some((format!("`{called}` called within `{place}`"), Some("call it in a loop of your own")));
    }
    // Code may raise such errors itself; these are monty's.
    let is_montys = !code.contains("NotImplementedError") || message.to_lowercase().contains("monty");
    is_montys.then(|| (format!("what the code needs here ({message})"), None))
}

fn attribute(message: &str) -> Option<Lack> {
    let (owner, name) = (quoted(message, 0), quoted(message, 1));
    let is_special = name.starts_with("__") && name.ends_with("__");
    Some(match owner {
        _ if message.starts_with("module '") => (format!("`{owner}.{name}`"), None),
        "module" => (format!("`{name}` of that module"), None),
        "_io.TextIOWrapper" => (format!("`{name}` of a standard stream"), Some("use `print` or `input`")),
        "llmc" => (format!("`llmc.{name}`"), Some("import `tools` and `ToolError` by name")),
        "RuntimeError" if ["data", "tool"].contains(&name) => (format!("`{name}` of a `ToolError`"), None),
        _ if cpython::has_attribute(owner, name) => (format!("`{owner}.{name}`"), None),
        _ if is_special => (format!("`{name}` of `{owner}`"), None),
        _ => return None,
    })
}

fn type_error(message: &str) -> Option<Lack> {
    if message.contains("' not supported between instances of '") {
        let both_sets = SETS.contains(&quoted(message, 1)) && SETS.contains(&quoted(message, 2));
        let lack = || (format!("`{}` of sets", quoted(message, 0)), Some("use `issubset` or `issuperset`"));
        return both_sets.then(lack);
    }
    let (_, what, instead) = TYPE_ERRORS.iter().find(|(start, ..)| message.starts_with(start))?;
    Some(((*what).to_owned(), *instead))
}

/// What stands in the quotes with this index.
fn quoted(text: &str, index: usize) -> &str {
    text.split('\'').nth(2 * index + 1).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_lack_is_named_with_the_way_out() {
        for (kind, message, start) in [
            (ExcType::ModuleNotFoundError, "No module named 'random'", "module `random` is not supported by"),
            (
                ExcType::ImportError,
                "cannot import name 'wraps' from 'functools' (unknown location)",
                "`wraps` of module `functools` is not supported by",
            ),
            (ExcType::AttributeError, "module 'json' has no attribute 'x'", "`json.x` is not supported by"),
            (
                ExcType::NotImplementedError,
                "The monty syntax parser does not yet support yield expressions",
                "the syntax of yield expressions is not supported by",
            ),
            (
                ExcType::NotImplementedError,
                "sorted(): method call 'echo' is not yet supported in this context",
                "`echo` called within `sorted()` is not supported by",
            ),
            (ExcType::NameError, "name 'eval' is not defined", "the built-in `eval` is not"),
        ] {
            let text = explain(kind, message, "").unwrap();
            assert!(text.starts_with(start) && text.ends_with("or use language: \"javascript\""), "{text}");
        }
    }

    #[test]
    fn errors_of_the_code_keep_their_words() {
        for (kind, message) in [
            (ExcType::NameError, "name 'x' is not defined"),
            (ExcType::AttributeError, "'int' object has no attribute 'x'"),
            (ExcType::AttributeError, "'A' object has no attribute 'lower'"),
            (ExcType::TypeError, "unsupported operand type(s) for %: 'int' and 'str'"),
            (ExcType::TypeError, "unsupported operand type(s) for +: 'int' and 'str'"),
            (ExcType::TypeError, "'<' not supported between instances of 'set' and 'int'"),
            (ExcType::NotImplementedError, "later"),
            (ExcType::ValueError, "No module named 'x'"),
        ] {
            assert_eq!(explain(kind, message, "raise NotImplementedError('later')"), None, "{message}");
        }
    }
}
