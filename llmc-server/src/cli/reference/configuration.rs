//! Every key of `llmc.toml`.

use serde_json::Value;

use super::schema::{Row, rows};
use super::text::{code, head, shown, table};
use crate::config::Config;

const UNITS: [(&str, &str); 6] = [
    ("_ms", "milliseconds"),
    ("_s", "seconds"),
    ("_days", "days"),
    ("_bytes", "bytes"),
    ("_per_minute", "per minute"),
    ("_per_second", "per second"),
];

const FROM: &str = "\
Every key of `llmc.toml`, as `llmc config schema` and `llmc config explain KEY` tell it. `NAME` stands for a name that \
you choose. What the keys do together stands in [Configuration](../configuration.md). Without a default a key is absent: \
no value, an empty list, or `false`.";

pub(super) fn page() -> anyhow::Result<String> {
    let schema = serde_json::to_value(schemars::schema_for!(Config))?;
    let mut text = head("Keys of the configuration", FROM);
    let rows = rows(&schema);
    let mut rest = rows.as_slice();
    while let Some((section, _)) = rest.split_first() {
        let below = format!("{}.", section.path);
        let count = rest[1..].iter().take_while(|row| row.path.starts_with(&below)).count();
        text.push_str(&format!("\n## `{}`\n\n{}\n", section.path, shown(&section.text)));
        text.push_str(&table(
            ["Key", "Type", "Default", "Meaning"],
            rest[1..=count].iter().filter(told).map(row),
        ));
        rest = &rest[count + 1..];
    }
    Ok(text)
}

/// A table of names tells nothing that the rows below it do not.
fn told(row: &&Row) -> bool {
    !(row.is_table && row.path.ends_with(".NAME"))
}

fn row(row: &Row) -> [String; 4] {
    let name = row.path.rsplit('.').next().unwrap_or_default();
    let unit = UNITS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, unit)| format!(", {unit}"));
    let kind = row.kind.replace("object", "table");
    let default = match &row.default {
        _ if row.is_required => "needed".to_owned(),
        Some(default) if !row.is_table => value(default, name),
        _ => String::new(),
    };
    [code(&row.path), shown(&kind) + &unit.unwrap_or_default(), default, shown(&row.text)]
}

/// Large numbers of bytes in a form that can be read.
fn value(value: &Value, name: &str) -> String {
    const KIB: u64 = 1 << 10;
    let bytes = value.as_u64().filter(|_| name.ends_with("_bytes"));
    let readable = bytes.and_then(|bytes| {
        let units = [(KIB * KIB * KIB, "GiB"), (KIB * KIB, "MiB"), (KIB, "KiB")];
        units
            .iter()
            .find(|(unit, _)| bytes > 0 && bytes % unit == 0)
            .map(|(unit, name)| format!("{} {name}", bytes / unit))
    });
    match (value, readable) {
        (Value::Null, _) => String::new(),
        (Value::Array(values), _) if values.is_empty() => String::new(),
        (Value::Array(values), _) => {
            values.iter().map(|value| code(&value.to_string())).collect::<Vec<_>>().join(", ")
        }
        (_, Some(readable)) => format!("{} ({readable})", code(&value.to_string())),
        (value, None) => code(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key, its unit and its default stand in one line.
    #[test]
    fn keys_have_their_types_units_and_defaults() {
        let page = page().unwrap();
        for line in [
            "| `limits.call_timeout_ms` | integer, milliseconds | `120000` |",
            "| `limits.max_message_bytes` | integer, bytes | `4194304` (4 MiB) |",
            "| `policy.confirm` | \"never\" or \"destructive\" or \"always\" | `\"never\"` |",
            "| `plugins.NAME.library` | string | needed |",
            "| `plugins.NAME.grants.run.limits.wall_ms` | integer, milliseconds | |",
            "| `secrets.NAME.command` | list of string | |",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }
        for section in
            ["server", "roots", "plugins", "programs", "secrets", "limits", "policy", "audit", "telemetry"]
        {
            assert!(page.contains(&format!("\n## `{section}`\n")), "{section}");
        }
        assert!(page.contains("`server.http.listen`") && page.contains("`server.http.oauth.jwks`"));
    }
}
