//! How much work a schema can make of a value.
//!
//! `$ref` lets a schema of a few lines stand for one of any size: forty definitions that each refer to the next one
//! twice keep a processor busy for days, and a schema that refers to itself twice below `properties` does so with a
//! deep value. Schemas come from plugins, so the work is bounded before one is used: for each place in a value, the
//! number of schemas that are applied on the way to it.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

/// Most schemas that are applied to one place in a value and to all places above it. Schemas of real tools, recursive
/// ones included, stay below a thousand.
const MAX_APPLIED: u64 = 20_000;

/// Longest chain of schemas for one place: the validator follows it by recursion.
const MAX_CHAIN: u32 = 200;

/// Steps of this count itself, which take some milliseconds.
const MAX_STEPS: u64 = 100_000;

/// Levels of a value; serde_json reads no deeper one.
const MAX_VALUE_DEPTH: u32 = 128;

/// Keywords that lead where this count cannot follow.
const UNSUPPORTED: [&str; 5] = ["$id", "$dynamicRef", "$dynamicAnchor", "$recursiveRef", "$recursiveAnchor"];

/// Refuses a schema that makes too much work.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn check(root: &Value) -> Result<(), String> {
    let mut count = Count { root, known: HashMap::new(), steps: 0 };
    let applied = count.below(root, MAX_VALUE_DEPTH)?;
    if applied > MAX_APPLIED {
        return Err(format!(
            "its `$ref`s multiply: more than {MAX_APPLIED} schemas would be applied to one place in a value"
        ));
    }
    Ok(())
}

struct Count<'s> {
    root: &'s Value,
    /// By schema and remaining depth.
    known: HashMap<(*const Value, u32), u64>,
    steps: u64,
}

/// Schemas that apply to the places below one place.
#[derive(Default)]
struct Children<'s> {
    /// To the place of that name or number.
    named: BTreeMap<&'s str, Vec<&'s Value>>,
    /// To any place.
    any: Vec<&'s Value>,
}

impl<'s> Count<'s> {
    /// Schemas that are applied on the way from the place of `schema` to the worst place `depth` levels below.
    fn below(&mut self, schema: &'s Value, depth: u32) -> Result<u64, String> {
        let key = (std::ptr::from_ref(schema), depth);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let before = self.steps;
        let mut children = Children::default();
        self.apply(schema, 0, &mut children)?;
        let mut total = self.steps - before;
        if depth > 0 {
            let mut worst = 0;
            for schemas in children.named.values() {
                worst = worst.max(self.sum(schemas, depth - 1)?);
            }
            total = total.saturating_add(worst).saturating_add(self.sum(&children.any, depth - 1)?);
        }
        self.known.insert(key, total);
        Ok(total)
    }

    fn sum(&mut self, schemas: &[&'s Value], depth: u32) -> Result<u64, String> {
        schemas.iter().try_fold(0_u64, |sum, schema| Ok(sum.saturating_add(self.below(schema, depth)?)))
    }

    /// Counts a schema and those that it applies to the same place, and collects those for the places below.
    fn apply(&mut self, schema: &'s Value, chain: u32, children: &mut Children<'s>) -> Result<(), String> {
        if chain > MAX_CHAIN {
            return Err(format!("its `$ref`s lead in a circle, or over more than {MAX_CHAIN} schemas"));
        }
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(format!("its `$ref`s multiply: checking it takes more than {MAX_STEPS} steps"));
        }
        let Value::Object(keywords) = schema else { return Ok(()) };
        if let Some(keyword) = UNSUPPORTED.iter().find(|keyword| keywords.contains_key(**keyword)) {
            return Err(format!("it uses `{keyword}`, which is not supported; use `$ref` to `#/$defs/NAME`"));
        }
        if let Some(Value::String(reference)) = keywords.get("$ref") {
            let pointer = reference.strip_prefix('#').ok_or_else(|| {
                format!("it refers to `{reference}`; only places in the schema itself can be referred to")
            })?;
            let target = self.root.pointer(pointer);
            let target =
                target.ok_or_else(|| format!("it refers to `{reference}`, which it does not have"))?;
            self.apply(target, chain + 1, children)?;
        }
        for keyword in ["not", "if", "then", "else"] {
            if let Some(schema) = keywords.get(keyword) {
                self.apply(schema, chain + 1, children)?;
            }
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for schema in list(keywords, keyword) {
                self.apply(schema, chain + 1, children)?;
            }
        }
        for (_, schema) in map(keywords, "dependentSchemas") {
            self.apply(schema, chain + 1, children)?;
        }
        for (name, schema) in map(keywords, "properties") {
            children.named.entry(name).or_default().push(schema);
        }
        let all = ["additionalProperties", "propertyNames", "items", "contains"];
        let rest = ["unevaluatedProperties", "unevaluatedItems"];
        children.any.extend(all.iter().chain(&rest).filter_map(|keyword| keywords.get(*keyword)));
        children.any.extend(map(keywords, "patternProperties").map(|(_, schema)| schema));
        children.any.extend(list(keywords, "prefixItems"));
        Ok(())
    }
}

fn list<'s>(keywords: &'s Map<String, Value>, keyword: &str) -> impl Iterator<Item = &'s Value> {
    keywords.get(keyword).and_then(Value::as_array).into_iter().flatten()
}

fn map<'s>(keywords: &'s Map<String, Value>, keyword: &str) -> impl Iterator<Item = (&'s str, &'s Value)> {
    let map = keywords.get(keyword).and_then(Value::as_object);
    map.into_iter().flatten().map(|(name, schema)| (name.as_str(), schema))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each of `levels` definitions refers to the next one twice.
    fn doubling(levels: usize) -> Value {
        let mut definitions = Map::new();
        for level in 0..levels {
            let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
            definitions.insert(format!("l{level}"), json!({"allOf": [next, next]}));
        }
        definitions.insert(format!("l{levels}"), json!({"type": "object"}));
        json!({"type": "object", "$defs": definitions, "$ref": "#/$defs/l0"})
    }

    #[test]
    fn references_that_multiply_are_refused() {
        assert_eq!(check(&doubling(10)), Ok(()));
        for levels in [20, 40, 90] {
            assert!(check(&doubling(levels)).unwrap_err().contains("multiply"), "{levels}");
        }
        assert!(check(&doubling(400)).unwrap_err().contains("more than 200"));
        let below = json!({"properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}});
        assert!(check(&below).unwrap_err().contains("multiply"));
        let twice = json!({"properties": {"a": {"$ref": "#"}}, "patternProperties": {"^a": {"$ref": "#"}}});
        assert!(check(&twice).unwrap_err().contains("multiply"));
    }

    #[test]
    fn a_circle_without_an_end_is_refused() {
        for schema in [
            json!({"$ref": "#"}),
            json!({"allOf": [{"$ref": "#"}]}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}),
        ] {
            assert!(check(&schema).unwrap_err().contains("circle"), "{schema}");
        }
    }

    #[test]
    fn recursive_types_are_fine() {
        let tree = json!({"properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#"}},
        }});
        assert_eq!(check(&tree), Ok(()));
        let list =
            |name: &str| json!({"properties": {name: {"items": {"$ref": "#/$defs/e"}}}, "required": [name]});
        let expression = json!({
            "$ref": "#/$defs/e",
            "$defs": {"e": {"oneOf": [list("and"), list("or"), list("sum"), {"type": "string"}]}},
        });
        assert_eq!(check(&expression), Ok(()));
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        assert!(
            check(&json!({"$ref": "https://example.org/s"})).unwrap_err().contains("in the schema itself")
        );
        assert!(check(&json!({"$ref": "#/$defs/none"})).unwrap_err().contains("does not have"));
        assert!(
            check(&json!({"properties": {"a": {"$dynamicRef": "#x"}}})).unwrap_err().contains("$dynamicRef")
        );
        // A name that nobody refers to is no matter; whoever refers to it is refused.
        let named = |reference: &str| json!({"$defs": {"a": {"$anchor": "x"}}, "properties": {"a": {"$ref": reference}}});
        assert_eq!(check(&named("#/$defs/a")), Ok(()));
        assert!(check(&named("#x")).unwrap_err().contains("does not have"));
    }
}
