//! Libraries that no plugin author would write, compiled when a test needs them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a library `NAME.so` that may link with others in the folder.
pub(crate) fn library(folder: &Path, name: &str, source: &str) -> PathBuf {
    let (file, library) = (folder.join(format!("{name}.rs")), folder.join(format!("{name}.so")));
    std::fs::write(&file, source).unwrap();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=cdylib", "-Cdebuginfo=0", "-o"])
        .arg(&library)
        .arg("-L")
        .arg(folder)
        .arg(&file)
        .status()
        .expect("rustc is there: it compiled this test");
    assert!(status.success(), "{name}");
    library
}

/// Source of a function that runs when the library is loaded.
pub(crate) fn on_load(body: &str) -> String {
    format!(
        "#[used] #[unsafe(link_section = \".init_array\")] static ON_LOAD: extern \"C\" fn() = on_load;\n\
         extern \"C\" fn on_load() {{ {body} }}\n"
    )
}
