//! `server.json`, by which the MCP registry knows a server: where its bundle lies, and which digest it has.
//!
//! The format is that of <https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json>.

use anyhow::{Result, bail};
use serde_json::json;

use crate::{Order, Publication};

const SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";

/// The registry shows this line; it takes 100 characters at most.
const DESCRIPTION: &str = "Files, commands and code execution for models on Linux, each in a jail of its own";

/// The text of the file.
///
/// # Errors
///
/// When the registry would not take the name or the address.
pub fn server(publication: &Publication, order: &Order, bundle: &str, sha256: &str) -> Result<String> {
    let Publication { name, download_url } = publication;
    check_name(name)?;
    if !download_url.starts_with("https://") {
        bail!("`{download_url}` does not begin with `https://`; the registry takes no other addresses");
    }
    let text = serde_json::to_string_pretty(&json!({
        "$schema": SCHEMA,
        "name": name,
        "title": "llmc",
        "description": DESCRIPTION,
        "version": order.version,
        "packages": [{
            "registryType": "mcpb",
            "identifier": format!("{}/{bundle}", download_url.trim_end_matches('/')),
            "fileSha256": sha256,
            "transport": { "type": "stdio" },
        }],
    }))?;
    Ok(format!("{text}\n"))
}

/// A domain backwards, one slash, and a name.
fn check_name(name: &str) -> Result<()> {
    let fits = |part: &str, more: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let sound = name.split_once('/').is_some_and(|(domain, name)| fits(domain, ".-") && fits(name, "._-"));
    if !sound || name.len() > 200 {
        bail!(
            "`{name}` is no name in the MCP registry; write a domain backwards and a name, as in `io.github.ada/llmc`"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str, url: &str) -> Result<String> {
        let order = Order {
            stage: "".into(),
            sources: "".into(),
            version: "1.2.3".into(),
            epoch: 7,
            level: 6,
            features: Vec::new(),
        };
        let publication = Publication { name: name.into(), download_url: url.into() };
        server(&publication, &order, "llmc.mcpb", &"a".repeat(64))
    }

    #[test]
    fn names_and_addresses_are_checked() {
        let text = made("io.github.ada/llmc", "https://example.org/1.2.3/").unwrap();
        assert!(text.contains("\"https://example.org/1.2.3/llmc.mcpb\""), "{text}");
        for name in ["llmc", "io.github.ada/", "/llmc", "io.github.ada/a/b", "io github/llmc"] {
            assert!(made(name, "https://example.org").is_err(), "{name}");
        }
        assert!(made("io.github.ada/llmc", "http://example.org").is_err());
    }

    #[test]
    fn the_description_fits() {
        assert!(DESCRIPTION.len() <= 100);
    }
}
