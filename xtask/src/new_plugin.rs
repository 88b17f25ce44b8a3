//! Makes a new plugin from `plugins/hello`: one that builds, passes its own tests and can be called at once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::rust_text::{self, Kind};
use crate::stage::{self, Profile};
use crate::workspace::{self, Package, Workspace};

const TEMPLATE: &str = "plugins/hello";

/// What the template says of itself and a copy should not: these words, and each section of a document that
/// tells how to copy it.
const ASIDES: [&str; 2] = [": the plugin to copy", " It is the plugin to copy when you write your own."];
const ASIDE_SECTION: &str = "cargo xtask new-plugin";

/// The tool name may have 64 characters; the rest is room for the names of further tools.
const MAX_NAME: usize = 31;

/// Copies, builds, tests and stages. A copy that does not pass is removed again.
pub(crate) fn run(workspace: &Workspace, name: &str) -> Result<()> {
    check_name(name)?;
    let folder = workspace.root.join("plugins").join(name);
    if folder.exists() {
        bail!("`plugins/{name}` exists; choose another name or remove it first");
    }
    let taken = workspace.resolved()?.packages;
    let library = |package: &Package| package.name.replace('-', "_");
    if taken.iter().map(library).any(|taken| taken == name || taken == format!("llmc_tools_{name}")) {
        bail!("`{name}` is the name of a crate or of a built-in plugin; choose another");
    }

    // The test in a jail needs the server.
    let program = stage::build(workspace, Profile::Dev, stage::FOLDER)?.program();
    let lock = workspace.root.join("Cargo.lock");
    let lock_before = fs::read(&lock).context("failed to read `Cargo.lock`")?;
    let made = copy(&workspace.root.join(TEMPLATE), &folder, name)
        .and_then(|()| workspace::check(workspace.cargo(["test", "-p", name]).env("LLMC", &program)));
    if let Err(error) = made {
        // The first error is the one to report, whatever of the copy can be removed.
        let _ = fs::remove_dir_all(&folder);
        fs::write(&lock, lock_before)?;
        let message = format!("`{name}` does not work as the name of a plugin; nothing was kept");
        return Err(error.context(message));
    }
    // A longer name changes the order of imports and the length of lines.
    workspace::check(&mut workspace.cargo(["fmt", "-p", name]))?;
    stage::build(workspace, Profile::Dev, stage::FOLDER)?;

    let program = program.strip_prefix(&workspace.root).unwrap_or(&program).display();
    println!(
        "\n\
        plugins/{name} is ready: write your tool in plugins/{name}/src/lib.rs, then `cargo xtask build`.\n\
        \n\
        Enable it in the configuration file:\n\
        \n    [plugins.{name}]\n    library = \"{name}\"\n\
        \n\
        Call it with flags alone:\n\
        \n    {program} call --plugin {name} {name} '{{\"name\": \"Ada\"}}'\n"
    );
    Ok(())
}

/// A name that is a crate, a library, a Rust name and a tool at once.
fn check_name(name: &str) -> Result<()> {
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() <= MAX_NAME;
    if !fits {
        bail!(
            "`{name}` is no plugin name: use small letters, digits and `_`, a letter first, at most {MAX_NAME}"
        );
    }
    Ok(())
}

/// A copy of the template under another name.
pub(crate) fn template(root: &Path, folder: &Path, name: &str) -> Result<()> {
    copy(&root.join(TEMPLATE), folder, name)
}

fn copy(template: &Path, folder: &Path, name: &str) -> Result<()> {
    for file in files(template)? {
        let inside = file.strip_prefix(template)?.to_string_lossy();
        let text =
            fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        let target = folder.join(inside.replace("hello", name));
        fs::create_dir_all(target.parent().unwrap_or(folder))?;
        let renamed = match inside.rsplit('.').next() {
            Some("rs") => rename_rust(&text, name),
            Some("md") => rename_text(&without_asides(&text), name),
            _ => rename_text(&text, name),
        };
        fs::write(&target, renamed)?;
    }
    Ok(())
}

/// All files in a folder and in those below it.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list `{}`", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

/// A document without the sections that are about the template.
fn without_asides(text: &str) -> String {
    let sections: Vec<_> = text.split("\n## ").filter(|section| !section.contains(ASIDE_SECTION)).collect();
    format!("{}\n", sections.join("\n## ").trim_end())
}

/// Outside Rust code `hello` is the plugin, and `Hello` is only ever a greeting.
fn rename_text(text: &str, name: &str) -> String {
    let text = ASIDES.iter().fold(text.to_owned(), |text, aside| text.replace(aside, ""));
    text.replace("hello", name)
}

/// In Rust `Hello` is also a type, and the string `"Hello"` is the title made from the tool name.
fn rename_rust(text: &str, name: &str) -> String {
    let rename = |(kind, part): (Kind, &str)| match kind {
        Kind::Code => rename_text(&part.replace("Hello", &type_name(name)), name),
        Kind::Literal if part == "\"Hello\"" => format!("\"{}\"", title(name)),
        Kind::Literal | Kind::Comment => rename_text(part, name),
    };
    rust_text::split(text).into_iter().map(rename).collect()
}

/// `word_count` becomes `WordCount`.
fn type_name(name: &str) -> String {
    name.split('_').map(capitalised).collect()
}

/// `word_count` becomes `Word count`.
fn title(name: &str) -> String {
    capitalised(&name.replace('_', " "))
}

fn capitalised(word: &str) -> String {
    let mut characters = word.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["weather", "word_count", "x2", "a234567890123456789012345678901"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Weather", "2x", "_x", "word-count", "../x", "a2345678901234567890123456789012"] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn types_names_and_titles_are_renamed_but_not_greetings() {
        let rust = "//! Greets: the plugin to copy.\nuse hello::Hello;\nfn hello_works() -> Hello { f(\"Hello\", \
            \"hello\", \"Hello, {}!\") }\nexport_plugin!(\"hello\": Hello, Other);";
        let renamed = "//! Greets.\nuse word_count::WordCount;\nfn word_count_works() -> WordCount { f(\"Word count\", \
            \"word_count\", \"Hello, {}!\") }\nexport_plugin!(\"word_count\": WordCount, Other);";
        assert_eq!(rename_rust(rust, "word_count"), renamed);
    }

    /// Not among the tests of the template, because a plugin that is made from it may grow.
    #[test]
    fn the_template_is_as_short_and_safe_as_is_said() {
        let (code, readme) =
            (include_str!("../../plugins/hello/src/lib.rs"), include_str!("../../README.md"));
        let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= 15, "{lines} lines");
        assert!(readme.contains(&format!("The hello plugin has {lines} lines.")), "{lines} lines");
        assert!(code.lines().any(|line| line == "#![forbid(unsafe_code)]"));
    }

    #[test]
    fn the_template_itself_is_renamed_without_rest() {
        let template = Workspace::locate().unwrap().root.join(TEMPLATE);
        let target = tempfile::tempdir().unwrap();
        copy(&template, target.path(), "weather").unwrap();
        let copied = files(target.path()).unwrap();
        assert!(copied.iter().any(|file| file.ends_with("src/lib.rs")), "{copied:?}");
        for file in copied {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!file.to_string_lossy().contains("hello"));
            assert!(!text.contains("hello") && !text.contains("to copy"), "{}: {text}", file.display());
            // What is left of `Hello` is a greeting.
            assert_eq!(
                text.matches("Hello").count(),
                text.matches("Hello, ").count(),
                "{}: {text}",
                file.display()
            );
        }
        let readme = fs::read_to_string(target.path().join("README.md")).unwrap();
        assert!(readme.starts_with("# weather\n") && !readme.contains("new-plugin"), "{readme}");
        let manifest = fs::read_to_string(target.path().join("Cargo.toml")).unwrap();
        assert!(manifest.contains("name = \"weather\""), "{manifest}");
    }
}
