//! `llmc plugin new` and `llmc plugin sdk`: a plugin outside the sources of llmc.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;
use clap::Args;

use super::super::{note, print};
use crate::stage::Stage;

/// What stands in the template for the name of the plugin, for its type, and for its title.
const PLACEHOLDERS: [&str; 3] = ["llmc_plugin_name", "LlmcPluginName", "Llmc plugin name"];

/// Files that the template does not have, because inside llmc's own sources they would be others.
const FILES: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("manifest.txt")),
    (".github/workflows/ci.yml", include_str!("ci.yml")),
    (".gitignore", "/target\n"),
];
const BUILDING: &str = include_str!("building.md");

const TEMPLATE: &str = "template";
const SDK: &str = "sdk";

/// The tool name may have 64 characters; the rest is room for the names of further tools.
const MAX_NAME_BYTES: usize = 31;

/// Names that are words of the language, or crates that every plugin sees. Strict and reserved keywords:
/// <https://doc.rust-lang.org/reference/keywords.html>.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "llmc_abi",
    "llmc_core",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde_json",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// `llmc plugin new`
#[derive(Args)]
pub(in super::super) struct New {
    /// Its name: small letters, digits and `_`; also that of its crate, its library and its first tool.
    name: String,
    /// Folder to make it in, as `FOLDER/NAME`.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    path: PathBuf,
    /// Folder with `bin`, `libexec`, `lib` and `share`; default: the one that this program lies in.
    #[arg(long, value_name = "DIR")]
    stage: Option<PathBuf>,
}

/// `llmc plugin sdk`
#[derive(Args)]
pub(in super::super) struct Sdk {
    /// Folder of the plugin; its `sdk` is replaced.
    folder: PathBuf,
    /// Folder with `bin`, `libexec`, `lib` and `share`; default: the one that this program lies in.
    #[arg(long, value_name = "DIR")]
    stage: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        check_name(&self.name)?;
        let share = Stage::find(self.stage.as_deref())?.share()?;
        let folder = self.path.join(&self.name);
        if folder.symlink_metadata().is_ok() {
            anyhow::bail!("`{}` exists; choose another name or --path, or remove it first", folder.display());
        }
        fs::create_dir_all(&self.path)
            .with_context(|| format!("failed to make folder `{}`", self.path.display()))?;
        // Made beside its place and then moved there, so nothing half made is left in it.
        let making = tempfile::Builder::new()
            .prefix(".llmc-new-")
            .tempdir_in(&self.path)
            .with_context(|| format!("failed to make a folder in `{}`", self.path.display()))?;
        self.make(&share, making.path())
            .with_context(|| format!("failed to make a plugin in `{}`", self.path.display()))?;
        format_code(making.path());
        let made = making.keep();
        if let Err(error) = fs::rename(&made, &folder) {
            // The error that matters is the first one.
            let _ = fs::remove_dir_all(&made);
            return Err(error).with_context(|| format!("failed to make `{}`", folder.display()));
        }
        print(&format!("{}\n", folder.display()))?;
        note(&next_steps(&self.name, &folder));
        Ok(ExitCode::SUCCESS)
    }

    fn make(&self, share: &Path, folder: &Path) -> anyhow::Result<()> {
        copy(&share.join(TEMPLATE), folder, &|text| self.renamed(text))?;
        copy(&share.join(SDK), &folder.join(SDK), &str::to_owned)?;
        // Those of a plugin that is part of llmc; here there are others.
        for (file, text) in FILES {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap_or(folder))?;
            fs::write(file, self.renamed(text))?;
        }
        let readme = folder.join("README.md");
        let text = fs::read_to_string(&readme)?;
        fs::write(readme, format!("{}\n{}", text.trim_end(), self.renamed(BUILDING)))?;
        // Everybody else's files are made like this too; a temporary folder is closed to them.
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(())
    }

    /// `word_count`, `WordCount` and `Word count` in the places for them.
    fn renamed(&self, text: &str) -> String {
        let capital = |word: &str| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        };
        let kind: String = self.name.split('_').map(capital).collect();
        let title = capital(&self.name.replace('_', " "));
        let [name_place, kind_place, title_place] = PLACEHOLDERS;
        text.replace(name_place, &self.name).replace(kind_place, &kind).replace(title_place, &title)
    }
}

impl Sdk {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let share = Stage::find(self.stage.as_deref())?.share()?;
        let (old, backup) = (self.folder.join(SDK), self.folder.join(".sdk-old"));
        if !old.join("llmc-core").is_dir() {
            anyhow::bail!(
                "`{}` is no plugin with an sdk: it has no `{SDK}/llmc-core`",
                self.folder.display()
            );
        }
        let making = tempfile::Builder::new().prefix(".sdk-new-").tempdir_in(&self.folder)?;
        copy(&share.join(SDK), making.path(), &str::to_owned)?;
        fs::set_permissions(making.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        fs::rename(&old, &backup).with_context(|| format!("failed to move `{}` away", old.display()))?;
        fs::rename(making.keep(), &old).with_context(|| {
            format!("failed to put the new one in place; the old one is `{}`", backup.display())
        })?;
        fs::remove_dir_all(&backup)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let fits = name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
        && name.len() <= MAX_NAME_BYTES;
    if !fits {
        anyhow::bail!(
            "`{name}` is no plugin name: use small letters, digits and `_`, a letter first, at most {MAX_NAME_BYTES}"
        );
    }
    if TAKEN.contains(&name) {
        anyhow::bail!("`{name}` is a word of Rust or the name of a crate that plugins use; choose another");
    }
    Ok(())
}

/// Copies a folder of small text files; what `change` does to texts it does to names too.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(change(&entry.file_name().to_string_lossy()));
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, change)?;
        } else {
            fs::write(target, change(&fs::read_to_string(entry.path())?))?;
        }
    }
    Ok(())
}

/// A longer name changes the order of imports and the length of lines. Without rustfmt they stay as they are.
fn format_code(folder: &Path) {
    let files = [folder.join("src"), folder.join("tests")]
        .into_iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let files = files.flatten().map(|entry| entry.path());
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024"]).args(files).current_dir(folder);
    let _ = rustfmt.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

fn next_steps(name: &str, folder: &Path) -> String {
    let program =
        std::env::current_exe().map_or_else(|_| "llmc".into(), |program| program.display().to_string());
    let folder = shell_words::quote(&folder.to_string_lossy()).into_owned();
    let program = shell_words::quote(&program).into_owned();
    format!(
        "write your tool in src/lib.rs; then\n  cd {folder}\n  {program} dev --call '{name} {{\"name\": \"Ada\"}}'\n  \
         LLMC={program} cargo test"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["weather", "word_count", "x2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Weather", "2x", "_x", "word-count", "../x", "match", "std", &"a".repeat(32)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
