//! SBOM, bundle manifest and `server.json` have what their specifications ask for. The schemas here are ours: the parts
//! of the published ones that our documents use, and nothing beyond them is let through.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::packages;

/// Panics with every place at which a document breaks a schema.
fn check(schema: &Value, document: &Value) {
    let validator = jsonschema::validator_for(schema).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

fn fails(schema: &Value, document: &Value) -> bool {
    !jsonschema::validator_for(schema).unwrap().is_valid(document)
}

fn document(name: &str) -> Value {
    serde_json::from_slice(&fs::read(packages().path(name)).unwrap()).unwrap()
}

/// CycloneDX 1.5, <https://cyclonedx.org/docs/1.5/json/>.
fn cyclonedx() -> Value {
    let digest = json!({
        "type": "object",
        "required": ["alg", "content"],
        "additionalProperties": false,
        "properties": { "alg": { "const": "SHA-256" }, "content": { "pattern": "^[a-f0-9]{64}$" } },
    });
    let component = json!({
        "type": "object",
        "required": ["type", "name"],
        "additionalProperties": false,
        "properties": {
            "type": { "enum": ["application", "library", "file"] },
            "bom-ref": { "type": "string", "minLength": 1 },
            "name": { "type": "string" },
            "version": { "type": "string" },
            "description": { "type": "string" },
            "scope": { "enum": ["required", "optional", "excluded"] },
            "hashes": { "type": "array", "items": digest },
            "purl": { "type": "string", "pattern": "^pkg:cargo/[^@]+@[^+ ]+$" },
            // An expression stands alone.
            "licenses": {
                "type": "array", "minItems": 1, "maxItems": 1,
                "items": {
                    "type": "object",
                    "required": ["expression"],
                    "additionalProperties": false,
                    "properties": { "expression": { "type": "string", "pattern": "^[^/]+$" } },
                },
            },
            "externalReferences": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["type", "url"],
                    "additionalProperties": false,
                    "properties": { "type": { "const": "distribution" }, "url": { "pattern": "^https://" } },
                },
            },
        },
    });
    json!({
        "type": "object",
        "required": ["bomFormat", "specVersion", "serialNumber", "version", "metadata", "components", "dependencies"],
        "additionalProperties": false,
        "properties": {
            "bomFormat": { "const": "CycloneDX" },
            "specVersion": { "const": "1.5" },
            "serialNumber": { "pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$" },
            "version": { "type": "integer", "minimum": 1 },
            "metadata": {
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "timestamp": { "pattern": "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$" },
                    "tools": {
                        "type": "object",
                        "additionalProperties": false,
                        "properties": { "components": { "type": "array", "items": component, "uniqueItems": true } },
                    },
                    "component": component,
                },
            },
            "components": { "type": "array", "items": component, "uniqueItems": true },
            "dependencies": {
                "type": "array",
                "uniqueItems": true,
                "items": {
                    "type": "object",
                    "required": ["ref"],
                    "additionalProperties": false,
                    "properties": {
                        "ref": { "type": "string", "minLength": 1 },
                        "dependsOn": { "type": "array", "uniqueItems": true, "items": { "type": "string" } },
                    },
                },
            },
        },
    })
}

#[test]
fn the_sbom_is_cyclonedx_and_whole() {
    let bom = document(&packages().names.sbom);
    check(&cyclonedx(), &bom);
    let mut broken = bom.clone();
    broken["components"][0]["licenses"] = json!([{ "expression": "MIT/Apache-2.0" }]);
    assert!(fails(&cyclonedx(), &broken));

    let components = bom["components"].as_array().unwrap();
    let references: Vec<_> =
        components.iter().map(|component| component["bom-ref"].as_str().unwrap()).collect();
    let unique: BTreeSet<_> = references.iter().copied().chain(["llmc"]).collect();
    assert_eq!(unique.len(), references.len() + 1, "each component has a name of its own");
    for dependency in bom["dependencies"].as_array().unwrap() {
        let named = dependency["dependsOn"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
        for name in named.chain([dependency["ref"].as_str().unwrap()]) {
            assert!(unique.contains(name), "`{name}` is no component");
        }
    }

    let find = |name: &str| components.iter().find(|component| component["name"] == name);
    for file in ["bin/llmc", "libexec/llmc/llmc-runner", "lib/llmc/plugins/libllmc_tools_fs.so"] {
        assert_eq!(find(file).unwrap()["type"], "file", "{file}");
    }
    let tokio = find("tokio").unwrap();
    assert_eq!(tokio["scope"], "required");
    assert_eq!(tokio["hashes"][0]["content"].as_str().unwrap().len(), 64);
    assert_eq!(find("syn").unwrap()["scope"], "excluded");
    assert!(find("xtask").is_none() && find("llmc-dist").is_none() && find("stress").is_none());
    for component in components.iter().filter(|component| component["type"] == "library") {
        assert!(component["licenses"].is_array(), "{component}");
    }
}

/// Manifest version 0.3, <https://github.com/modelcontextprotocol/mcpb/blob/main/MANIFEST.md>.
fn mcpb() -> Value {
    let text = json!({ "type": "string", "minLength": 1 });
    json!({
        "type": "object",
        "required": ["manifest_version", "name", "version", "description", "author", "server"],
        "additionalProperties": false,
        "properties": {
            "manifest_version": { "const": "0.3" },
            "name": text,
            "display_name": text,
            "version": { "pattern": "^\\d+\\.\\d+\\.\\d+" },
            "description": text,
            "long_description": text,
            "author": {
                "type": "object", "required": ["name"], "additionalProperties": false, "properties": { "name": text },
            },
            "license": text,
            "keywords": { "type": "array", "items": text },
            "server": {
                "type": "object",
                "required": ["type", "entry_point", "mcp_config"],
                "additionalProperties": false,
                "properties": {
                    "type": { "const": "binary" },
                    "entry_point": text,
                    "mcp_config": {
                        "type": "object",
                        "required": ["command"],
                        "additionalProperties": false,
                        "properties": {
                            "command": text,
                            "args": { "type": "array", "items": text },
                            "env": { "type": "object", "additionalProperties": text },
                        },
                    },
                },
            },
            "tools_generated": { "type": "boolean" },
            "user_config": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["type", "title", "description"],
                    "additionalProperties": false,
                    "properties": {
                        "type": { "enum": ["string", "number", "boolean", "directory", "file"] },
                        "title": text,
                        "description": text,
                        "required": { "type": "boolean" },
                    },
                },
            },
            "compatibility": {
                "type": "object",
                "additionalProperties": false,
                "properties": { "platforms": { "type": "array", "items": { "enum": ["darwin", "win32", "linux"] } } },
            },
        },
    })
}

#[test]
fn the_manifest_of_the_bundle_is_one() {
    let manifest = llmc_dist::mcpb::manifest("1.2.3");
    check(&mcpb(), &manifest);
    let mut broken = manifest.clone();
    broken["server"]["type"] = "native".into();
    assert!(fails(&mcpb(), &broken));

    // Every variable is one that clients fill in.
    let text = manifest["server"]["mcp_config"].to_string();
    for part in text.split("${").skip(1) {
        let name = part.split('}').next().unwrap();
        let asked =
            name.strip_prefix("user_config.").is_some_and(|key| manifest["user_config"].get(key).is_some());
        assert!(asked || name == "__dirname", "{name}");
    }
}

/// <https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json>.
fn registry() -> Value {
    json!({
        "type": "object",
        "required": ["$schema", "name", "description", "version", "packages"],
        "additionalProperties": false,
        "properties": {
            "$schema": { "const": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json" },
            "name": { "type": "string", "pattern": "^[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+$", "minLength": 3, "maxLength": 200 },
            "title": { "type": "string", "minLength": 1, "maxLength": 100 },
            "description": { "type": "string", "minLength": 1, "maxLength": 100 },
            "version": { "type": "string", "maxLength": 255, "pattern": "^[0-9]" },
            "packages": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["registryType", "identifier", "fileSha256", "transport"],
                    "additionalProperties": false,
                    "properties": {
                        "registryType": { "const": "mcpb" },
                        // The registry takes bundles over https alone, from addresses with `mcp` in them.
                        "identifier": { "pattern": "^https://.*mcp" },
                        "fileSha256": { "pattern": "^[a-f0-9]{64}$" },
                        "transport": {
                            "type": "object",
                            "required": ["type"],
                            "additionalProperties": false,
                            "properties": { "type": { "const": "stdio" } },
                        },
                    },
                },
            },
        },
    })
}

#[test]
fn the_registry_entry_names_the_bundle_by_its_digest() {
    let entry = document("server.json");
    check(&registry(), &entry);
    let mut broken = entry.clone();
    broken["packages"][0]["fileSha256"] = "0".into();
    assert!(fails(&registry(), &broken));

    let packages = packages();
    let digest = llmc_dist::sums::sha256_of_file(&packages.path(&packages.names.mcpb)).unwrap();
    assert_eq!(entry["packages"][0]["fileSha256"], digest);
    let address = format!("https://example.org/llmc/download/{}", packages.names.mcpb);
    assert_eq!(entry["packages"][0]["identifier"], address);
}
