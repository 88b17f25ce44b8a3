//! Libraries that no plugin author would write, compiled when a test needs them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where they are kept: beside the build's other results.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile")
}

/// A library `NAME.so` that may link with the others; compiled only if the one that is there has another source.
pub(crate) fn library(name: &str, source: &str) -> PathBuf {
    let folder = folder();
    let (kept, known) = (folder.join(format!("{name}.so")), folder.join(format!("{name}.rs")));
    if kept.exists() && std::fs::read_to_string(&known).is_ok_and(|known| known == source) {
        return kept;
    }
    std::fs::create_dir_all(&folder).unwrap();
    let half = tempfile::tempdir_in(&folder).unwrap();
    let (file, library) = (half.path().join(format!("{name}.rs")), half.path().join(format!("{name}.so")));
    std::fs::write(&file, source).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "-Cdebuginfo=0", "-o"])
        .arg(&library)
        .arg("-L")
        .arg(&folder)
        .arg(&file)
        .status()
        .expect("rustc is there: it compiled this test");
    assert!(status.success(), "{name}");
    // The source last: without it the library is compiled again.
    std::fs::rename(&library, &kept).unwrap();
    std::fs::rename(&file, &known).unwrap();
    kept
}

/// Source of a function that runs when the library is loaded.
pub(crate) fn on_load(body: &str) -> String {
    format!(
        "#[used] #[unsafe(link_section = \".init_array\")] static ON_LOAD: extern \"C\" fn() = on_load;\n\
         extern \"C\" fn on_load() {{ {body} }}\n"
    )
}
