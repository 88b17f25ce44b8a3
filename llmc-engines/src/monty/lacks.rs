//! What the subset lacks, in words that tell the way out.

use monty_types::ExcType;

/// Built-in names of Python that monty does not have.
const MISSING_BUILTINS: &[&str] = &[
    "aiter",
    "anext",
    "breakpoint",
    "bytearray",
    "callable",
    "classmethod",
    "compile",
    "complex",
    "delattr",
    "dir",
    "eval",
    "exec",
    "format",
    "globals",
    "help",
    "issubclass",
    "iter",
    "locals",
    "memoryview",
    "object",
    "property",
    "staticmethod",
    "super",
    "vars",
    "__import__",
];

const NOT_THERE: &str = "is not supported by the embedded Python subset (monty); install CPython 3.9+ for full Python, \
                         or use language: \"javascript\"";

/// The message of an error that is due to the subset and not to the code.
pub(super) fn explain(kind: ExcType, message: &str) -> Option<String> {
    let quoted = |text: &str| text.split('\'').nth(1).unwrap_or("it").to_owned();
    let what = match kind {
        ExcType::NotImplementedError => {
            let feature = message.strip_prefix("The monty syntax parser does not yet support ");
            match feature {
                Some(feature) => format!("the syntax of {feature}"),
                None if message.contains("monty") || message.contains("Monty") => message.to_owned(),
                None => return None,
            }
        }
        ExcType::ModuleNotFoundError if message.starts_with("No module named ") => {
            format!("module `{}`", quoted(message))
        }
        ExcType::ImportError if message.starts_with("cannot import name ") => {
            format!("`{}` of module `{}`", quoted(message), message.split('\'').nth(3).unwrap_or("?"))
        }
        ExcType::AttributeError if message.starts_with("module '") => {
            format!("`{}.{}`", quoted(message), message.split('\'').nth(3).unwrap_or("?"))
        }
        ExcType::NameError => {
            let name = quoted(message);
            if !MISSING_BUILTINS.contains(&name.as_str()) {
                return None;
            }
            format!("the built-in function `{name}`")
        }
        _ => return None,
    };
    Some(format!("{what} {NOT_THERE}"))
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
            (ExcType::NameError, "name 'eval' is not defined", "the built-in function `eval` is not"),
        ] {
            let text = explain(kind, message).unwrap();
            assert!(text.starts_with(start) && text.ends_with("or use language: \"javascript\""), "{text}");
        }
        assert_eq!(explain(ExcType::NotImplementedError, "later"), None);
        assert_eq!(explain(ExcType::NameError, "name 'x' is not defined"), None);
        assert_eq!(explain(ExcType::AttributeError, "'int' object has no attribute 'x'"), None);
    }
}
