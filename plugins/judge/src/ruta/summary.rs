//! What a trace keeps of a result.

use judge::limits::{MAX_RESULT_ITEMS, MAX_RESULT_TEXT_BYTES};
use judge::scenario::Items;
use judge::trace::ResultSummary;
use serde_json::Value;

/// Fields that hold what was found, in the order in which they are looked for.
const LISTS: &[&str] = &["results", "matches", "files", "entries", "items", "hits"];
/// Fields that hold how much was found.
const COUNTS: &[&str] = &["total", "hit_count", "count"];
/// Fields that tell one item from another.
const IDS: &[&str] = &["id", "path", "name"];

/// Summarises a result; `items` says where the items are if they are not in the usual places.
///
/// # Errors
/// If there is no list where `items` says.
pub(crate) fn summarise(
    text: &str,
    structured: &Value,
    items: Option<&Items>,
) -> Result<ResultSummary, String> {
    let list = match items {
        Some(Items { list, .. }) => {
            let found = structured.pointer(list).and_then(Value::as_array);
            Some(
                found
                    .ok_or_else(|| format!("`items.list`: there is no list at `{}`", list.escape_debug()))?,
            )
        }
        None => LISTS.iter().find_map(|name| structured[*name].as_array()),
    };
    let field = items.and_then(|items| items.id.as_deref());
    let shown = list.map(|list| list.len() as u64);
    let total =
        if items.is_some() { None } else { COUNTS.iter().find_map(|name| structured[*name].as_u64()) };
    let cut = structured["truncated"].as_bool();
    let is_part = total.zip(shown).map(|(total, shown)| total > shown);
    Ok(ResultSummary {
        hit_count: total.or(shown),
        truncated: cut.or(is_part),
        item_ids: list
            .and_then(|list| list.iter().take(MAX_RESULT_ITEMS).map(|item| id(item, field)).collect()),
        text: (!text.is_empty()).then(|| cut_text(text)),
    })
}

/// What tells an item from others; a place in a file has its line too.
fn id(item: &Value, field: Option<&str>) -> Option<String> {
    let plain = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    if let Some(field) = field {
        return plain(&item[field]);
    }
    let found = plain(item).or_else(|| IDS.iter().find_map(|name| plain(&item[*name])))?;
    Some(match item["line"].as_u64() {
        Some(line) => format!("{found}:{line}"),
        None => found,
    })
}

fn cut_text(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_RESULT_TEXT_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(structured: Value) -> ResultSummary {
        summarise("", &structured, None).unwrap()
    }

    #[test]
    fn usual_results_are_understood() {
        let found = of(
            json!({"matches": [{"path": "work:a", "line": 3}, {"path": "work:b", "line": 1}], "total": 9}),
        );
        assert_eq!((found.hit_count, found.truncated), (Some(9), Some(true)));
        assert_eq!(found.item_ids.unwrap(), ["work:a:3", "work:b:1"]);
        let all = of(json!({"entries": ["x", 2], "truncated": false}));
        assert_eq!((all.hit_count, all.truncated, all.item_ids.unwrap().len()), (Some(2), Some(false), 2));
    }

    #[test]
    fn what_is_not_told_stays_open() {
        assert_eq!(of(json!({"text": "x"})), ResultSummary::default());
        assert_eq!(of(Value::Null), ResultSummary::default());
        assert_eq!(of(json!({"results": [{"score": 1}]})).item_ids, None);
    }

    #[test]
    fn a_script_can_say_where_items_are() {
        let items = |list: &str, id: Option<&str>| Items { list: list.into(), id: id.map(str::to_owned) };
        let structured = json!({"deep": {"rows": [{"key": "a"}, {"key": "b"}]}, "total": 7});
        let found = summarise("", &structured, Some(&items("/deep/rows", Some("key")))).unwrap();
        assert_eq!(
            (found.hit_count, found.item_ids.unwrap()),
            (Some(2), vec!["a".to_owned(), "b".to_owned()])
        );
        assert!(summarise("", &structured, Some(&items("/none", None))).is_err());
    }
}
