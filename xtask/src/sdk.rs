//! What `llmc plugin new` makes a plugin from: the crates that a plugin needs, as a workspace of their own, and a
//! template made from `plugins/hello`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::new_plugin;

/// Folders of the crates, as they lie in this workspace and in the copy.
const CRATES: &[&str] = &["llmc-abi", "llmc-core", "llmc-core/macros"];
const LICENCES: &[&str] = &["LICENSE-MIT", "LICENSE-APACHE"];

/// What stands in the template for the name of the new plugin; `llmc plugin new` replaces it, and the forms
/// `LlmcPluginName` (a type) and `Llmc plugin name` (a title).
const PLACEHOLDER: &str = "llmc_plugin_name";

/// Makes `sdk` and `template` in `folder` anew, and returns their files.
pub(crate) fn make(root: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    // What was there before may have files that are gone from the sources.
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("failed to remove `{}`", folder.display()))?;
    }
    let sdk = folder.join("sdk");
    for name in CRATES {
        for file in sources(&root.join(name))? {
            copy(root, &file, &sdk)?;
        }
    }
    for name in LICENCES {
        copy(root, &root.join(name), &sdk)?;
    }
    fs::write(sdk.join("Cargo.toml"), manifest(root)?)?;
    new_plugin::template(root, &folder.join("template"), PLACEHOLDER)?;
    fs::copy(root.join("rustfmt.toml"), folder.join("template/rustfmt.toml"))?;
    new_plugin::files(folder)
}

/// The manifest and the sources of a crate, without its tests.
fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = new_plugin::files(&folder.join("src"))?;
    files.push(folder.join("Cargo.toml"));
    Ok(files)
}

fn copy(root: &Path, file: &Path, to: &Path) -> Result<()> {
    let target = to.join(file.strip_prefix(root)?);
    fs::create_dir_all(target.parent().unwrap_or(to))?;
    fs::copy(file, &target).with_context(|| format!("failed to copy `{}`", file.display()))?;
    Ok(())
}

/// A workspace manifest with these crates and nothing that only others need.
fn manifest(root: &Path) -> Result<String> {
    let read = |file: PathBuf| -> Result<Table> {
        let text =
            fs::read_to_string(&file).with_context(|| format!("failed to read `{}`", file.display()))?;
        Ok(text.parse()?)
    };
    let mut whole = read(root.join("Cargo.toml"))?;
    let mut needed = Vec::new();
    for name in CRATES {
        let manifest = read(root.join(name).join("Cargo.toml"))?;
        for kind in ["dependencies", "dev-dependencies"] {
            needed.extend(
                manifest
                    .get(kind)
                    .and_then(Value::as_table)
                    .into_iter()
                    .flatten()
                    .map(|(name, _)| name.clone()),
            );
        }
    }
    let workspace =
        whole.get_mut("workspace").and_then(Value::as_table_mut).context("`Cargo.toml` has no workspace")?;
    workspace.insert("members".into(), Value::Array(CRATES.iter().map(|name| Value::from(*name)).collect()));
    if let Some(dependencies) = workspace.get_mut("dependencies").and_then(Value::as_table_mut) {
        dependencies.retain(|name, _| needed.iter().any(|needed| needed == name));
    }
    whole.retain(|key, _| key == "workspace");
    let head = "# Made by `cargo xtask build` of llmc; `llmc plugin sdk DIR` replaces this folder.\n\n";
    Ok(format!("{head}{}", toml::to_string(&whole)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn what_is_made_stands_alone() {
        let root = Workspace::locate().unwrap().root;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sdk")).unwrap();
        fs::write(folder.path().join("sdk/stale.rs"), "").unwrap();
        let files = make(&root, folder.path()).unwrap();
        assert!(!files.iter().any(|file| file.ends_with("stale.rs")), "{files:?}");
        for wanted in [
            "sdk/llmc-core/macros/src/lib.rs",
            "sdk/LICENSE-MIT",
            "template/src/lib.rs",
            "template/tests/jail.rs",
        ] {
            assert!(files.iter().any(|file| file.ends_with(wanted)), "{wanted} in {files:?}");
        }
        let manifest: Table =
            fs::read_to_string(folder.path().join("sdk/Cargo.toml")).unwrap().parse().unwrap();
        let dependencies = manifest["workspace"]["dependencies"].as_table().unwrap();
        assert!(
            dependencies.contains_key("schemars") && !dependencies.contains_key("rmcp"),
            "{dependencies:?}"
        );
        let code = fs::read_to_string(folder.path().join("template/src/lib.rs")).unwrap();
        assert!(
            code.contains("pub struct LlmcPluginName") && code.contains("fn llmc_plugin_name("),
            "{code}"
        );
    }
}
