//! The entry, in the form that a client reads. Texts are edited as texts: comments, order and spaces of everything else
//! stay.

use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstRootNode};
use serde_json::{Value, json};
use toml_edit::{Array, DocumentMut, Item, Table};

/// How a client is to start the server.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
}

/// Form of a client's file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// JSON, maybe with comments, with the servers below a key.
    Json {
        key: &'static str,
        /// Whether an entry says `"type": "stdio"`.
        has_type: bool,
    },
    /// TOML, with the servers below a key.
    Toml { key: &'static str },
}

impl Entry {
    /// The entry as data.
    pub(super) fn json(&self, shape: Shape) -> Value {
        let mut entry = json!({ "command": self.program, "args": self.arguments });
        if matches!(shape, Shape::Json { has_type: true, .. }) {
            entry["type"] = "stdio".into();
        }
        entry
    }

    /// Keys and values in the order in which they are written.
    fn parts(&self, has_type: bool) -> Vec<(&'static str, CstInputValue)> {
        let arguments = self.arguments.iter().cloned().map(CstInputValue::String).collect();
        let kind = has_type.then(|| ("type", CstInputValue::String("stdio".into())));
        let start = [
            ("command", CstInputValue::String(self.program.clone())),
            ("args", CstInputValue::Array(arguments)),
        ];
        kind.into_iter().chain(start).collect()
    }
}

impl Shape {
    /// A file with this entry alone.
    ///
    /// # Errors
    ///
    /// None that an entry could cause.
    pub(super) fn whole(self, entry: &Entry) -> anyhow::Result<String> {
        self.edited("", entry).map_err(anyhow::Error::msg)
    }

    /// A file's text with the entry added, or brought up to date; other keys that the entry has stay.
    ///
    /// # Errors
    ///
    /// Why the text cannot be edited.
    pub(super) fn edited(self, text: &str, entry: &Entry) -> Result<String, String> {
        match self {
            Self::Json { key, has_type } => json_with(text, key, entry, has_type),
            Self::Toml { key } => toml_with(text, key, entry),
        }
    }
}

/// What JSON with comments allows, and nothing that only this parser would understand.
const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn json_with(text: &str, key: &str, entry: &Entry, has_type: bool) -> Result<String, String> {
    let is_new = text.trim().is_empty();
    let root = CstRootNode::parse(if is_new { "{}\n" } else { text }, &OPTIONS)
        .map_err(|error| format!("it cannot be read as JSON ({error})"))?;
    let object = root.object_value().ok_or("it is no JSON object")?;
    let servers = object.object_value_or_create(key).ok_or_else(|| format!("its `{key}` is no object"))?;
    let Some(known) = servers.get(&entry.name) else {
        let parts = entry.parts(has_type).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        servers.append(&entry.name, CstInputValue::Object(parts));
        return Ok(root.to_string());
    };
    let known = known.object_value().ok_or_else(|| format!("its entry `{}` is no object", entry.name))?;
    let wanted = entry.json(Shape::Json { key: "", has_type });
    for (name, value) in entry.parts(has_type) {
        match known.get(name) {
            Some(property) if property.to_serde_value().as_ref() == Some(&wanted[name]) => {}
            Some(property) => property.set_value(value),
            None => drop(known.append(name, value)),
        }
    }
    Ok(root.to_string())
}

fn toml_with(text: &str, key: &str, entry: &Entry) -> Result<String, String> {
    let mut document: DocumentMut =
        text.parse().map_err(|error| format!("it cannot be read as TOML ({})", first_line(&error)))?;
    let servers = document.as_table_mut().entry(key).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let servers = servers.as_table_like_mut().ok_or_else(|| format!("its `{key}` is no table"))?;
    if !servers.contains_key(&entry.name) {
        servers.insert(&entry.name, Item::Table(Table::new()));
    }
    let known = servers.get_mut(&entry.name).and_then(Item::as_table_like_mut);
    let known = known.ok_or_else(|| format!("its entry `{}` is no table", entry.name))?;
    if known.get("command").and_then(Item::as_str) != Some(&entry.program) {
        known.insert("command", entry.program.as_str().into());
    }
    let is_same = |array: &Array| {
        array.iter().map(|value| value.as_str()).eq(entry.arguments.iter().map(|text| Some(text.as_str())))
    };
    if !known.get("args").and_then(Item::as_array).is_some_and(is_same) {
        known.insert("args", Array::from_iter(&entry.arguments).into());
    }
    Ok(document.to_string())
}

fn first_line(error: &toml_edit::TomlError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Shape = Shape::Json { key: "mcpServers", has_type: false };
    const TOML: Shape = Shape::Toml { key: "mcp_servers" };

    fn entry() -> Entry {
        let arguments = ["serve", "--config", "/a b/\"c\"\\.toml"].map(str::to_owned).to_vec();
        Entry { name: "llmc".into(), program: "/opt/llmc".into(), arguments }
    }

    fn lines(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
        let diff = similar::TextDiff::from_lines(before, after);
        let of = |tag| {
            let changes = diff.iter_all_changes().filter(|change| change.tag() == tag);
            changes.map(|change| change.value().trim().to_owned()).collect()
        };
        (of(similar::ChangeTag::Delete), of(similar::ChangeTag::Insert))
    }

    #[test]
    fn a_new_file_is_what_the_client_reads() {
        let value: Value = serde_json::from_str(&JSON.whole(&entry()).unwrap()).unwrap();
        assert_eq!(value, json!({"mcpServers": {"llmc": entry().json(JSON)}}));
        let vscode = Shape::Json { key: "servers", has_type: true };
        let value: Value = serde_json::from_str(&vscode.whole(&entry()).unwrap()).unwrap();
        assert_eq!(value["servers"]["llmc"]["type"], "stdio");
        let value: toml::Table = TOML.whole(&entry()).unwrap().parse().unwrap();
        assert_eq!(value["mcp_servers"]["llmc"]["command"].as_str(), Some("/opt/llmc"));
        assert_eq!(value["mcp_servers"]["llmc"]["args"][2].as_str(), Some("/a b/\"c\"\\.toml"));
    }

    #[test]
    fn comments_order_and_spaces_of_everything_else_stay() {
        let before = "{\n  // mine\n  \"theme\":   \"dark\",\n  \"mcpServers\": {\n    \"other\": { \"command\": \"x\" }, // keep\n  },\n  /* last */ \"n\": 1e3\n}\n";
        let after = JSON.edited(before, &entry()).unwrap();
        let (removed, added) = lines(before, &after);
        assert_eq!(removed, Vec::<String>::new(), "{after}");
        assert!(added.iter().any(|line| line.contains("\"llmc\"")), "{after}");
        assert_eq!(JSON.edited(&after, &entry()).unwrap(), after, "a second time changes nothing");

        let before = "# mine\nmodel = \"x\"   # keep\n\n[mcp_servers.other]\ncommand = 'y'\n\n[zed]\na = 1\n";
        let after = TOML.edited(before, &entry()).unwrap();
        let (removed, added) = lines(before, &after);
        assert_eq!(removed, Vec::<String>::new(), "{after}");
        assert!(added.contains(&"[mcp_servers.llmc]".to_owned()), "{after}");
        assert_eq!(TOML.edited(&after, &entry()).unwrap(), after);
    }

    #[test]
    fn an_older_entry_is_brought_up_to_date_and_keeps_what_the_user_added() {
        let before =
            "{\"mcpServers\": {\"llmc\": {\"command\": \"/old\", \"env\": {\"A\": \"b\"}}, \"z\": {}}}";
        let after: Value = serde_json::from_str(&JSON.edited(before, &entry()).unwrap()).unwrap();
        assert_eq!(after["mcpServers"]["llmc"]["command"], "/opt/llmc");
        assert_eq!(after["mcpServers"]["llmc"]["args"][0], "serve");
        assert_eq!(after["mcpServers"]["llmc"]["env"]["A"], "b");
        assert_eq!(after["mcpServers"]["z"], json!({}));
        let before = "[mcp_servers.llmc]\ncommand = \"/old\"\nstartup_timeout_sec = 20\n";
        let after = TOML.edited(before, &entry()).unwrap();
        assert!(after.contains("/opt/llmc") && after.contains("startup_timeout_sec = 20"), "{after}");
    }

    #[test]
    fn what_cannot_be_edited_is_refused() {
        for text in
            ["{\"a\": }", "[]", "{\"mcpServers\": []}", "{\"mcpServers\": {\"llmc\": 1}}", "{a: 1}", "{} {}"]
        {
            assert!(JSON.edited(text, &entry()).is_err(), "{text}");
        }
        for text in ["a = ", "mcp_servers = 1", "[mcp_servers]\nllmc = 1"] {
            assert!(TOML.edited(text, &entry()).is_err(), "{text}");
        }
    }
}
