//! An MCP bundle: a zip of the stage and a manifest, which desktop clients install with one click.
//!
//! <https://github.com/modelcontextprotocol/mcpb>, manifest version 0.3.

use std::io::{Seek, Write};

use anyhow::Result;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::Order;
use crate::tree::Tree;

/// Where the stage lies in the bundle.
const SERVER: &str = "server";

/// Writes the bundle.
///
/// # Errors
///
/// When a file cannot be read or `out` cannot be written.
pub fn write(stage: &Tree, bom: &[u8], order: &Order, out: impl Write + Seek) -> Result<()> {
    let mut tree = stage.below(SERVER);
    tree.put_bytes("sbom.cdx.json", bom.to_vec());
    tree.put_bytes("manifest.json", serde_json::to_vec_pretty(&manifest(&order.version))?);

    let mut zip = ZipWriter::new(out);
    for (path, entry) in tree.files() {
        // Zip keeps local times without a zone, so every file has the first one it knows.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(order.level.clamp(1, 9).into()))
            .last_modified_time(DateTime::default())
            .unix_permissions(entry.mode());
        zip.start_file(path, options)?;
        zip.write_all(&entry.bytes()?)?;
    }
    zip.finish()?;
    Ok(())
}

/// What a client asks the user, and how it starts the server. Least grants: one directory that the user picks,
/// read-only, and code in jails that sees no directory.
pub fn manifest(version: &str) -> Value {
    json!({
        "manifest_version": "0.3",
        "name": "llmc",
        "display_name": "llmc",
        "version": version,
        "description": "Files, commands and code execution for models, each in a jail of its own",
        "long_description":
            "Gives a model the files of one directory and code execution in jails of one run each. \
            Reads alone; to let it write or run programs, install llmc and write a configuration.",
        "author": { "name": "the llmc maintainers" },
        "license": "MIT OR Apache-2.0",
        "keywords": ["files", "code", "sandbox", "search"],
        "server": {
            "type": "binary",
            "entry_point": format!("{SERVER}/bin/llmc"),
            "mcp_config": {
                "command": format!("${{__dirname}}/{SERVER}/bin/llmc"),
                "args": ["serve", "--root", "work=${user_config.directory}:ro"],
                "env": {},
            },
        },
        "tools_generated": true,
        "user_config": {
            "directory": {
                "type": "directory",
                "title": "Directory",
                "description": "What tools may read, with all that lies below it",
                "required": true,
            },
        },
        "compatibility": { "platforms": ["linux"] },
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    fn bundle() -> Vec<u8> {
        let mut stage = Tree::default();
        stage.put_bytes("bin/llmc", vec![7; 10_000]);
        let order = Order {
            stage: "".into(),
            sources: "".into(),
            version: "1.2.3".into(),
            epoch: 7,
            level: 6,
            features: Vec::new(),
        };
        let mut bytes = Cursor::new(Vec::new());
        write(&stage, b"{}", &order, &mut bytes).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_bundle_has_the_same_bytes_each_time_and_its_manifest_names_a_file_in_it() {
        assert_eq!(bundle(), bundle());
        let mut zip = zip::ZipArchive::new(Cursor::new(bundle())).unwrap();
        let mut text = String::new();
        zip.by_name("manifest.json").unwrap().read_to_string(&mut text).unwrap();
        let manifest: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(manifest["version"], "1.2.3");
        let entry_point = manifest["server"]["entry_point"].as_str().unwrap();
        assert_eq!(manifest["server"]["mcp_config"]["command"], format!("${{__dirname}}/{entry_point}"));
        assert_eq!(zip.by_name(entry_point).unwrap().size(), 10_000);
    }
}
