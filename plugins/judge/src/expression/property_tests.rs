//! What holds for any text.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::facts::Facts;

/// Texts that look like expressions more often than chance makes them.
fn any_expression() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "1",
        "2.5",
        "'a'",
        "\"b\"",
        "true",
        "null",
        "and",
        "OR",
        "not",
        "in",
        "if",
        "else",
        "+",
        "-",
        "*",
        "/",
        "%",
        "==",
        "<",
        ">=",
        "(",
        ")",
        "[",
        "]",
        ",",
        ".",
        "!",
        "&&",
        "len",
        "jaccard",
        "results",
        "calls",
        "result",
        "success",
        "min",
        "sum",
        "round",
        "x",
        "9223372036854775807",
        "1e300",
        "**",
        "'",
        "\\",
        "\u{e4}",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.join(" "))
}

/// A tree of numbers, as text and as its value by the rules of 128-bit numbers.
fn sum() -> impl Strategy<Value = (String, i128)> {
    let leaf = (0_i64..1_000).prop_map(|number| (number.to_string(), i128::from(number)));
    leaf.prop_recursive(4, 32, 2, |inner| {
        (inner.clone(), inner, prop::sample::select(vec!['+', '-', '*'])).prop_map(|(left, right, sign)| {
            let value = match sign {
                '+' => left.1.checked_add(right.1),
                '-' => left.1.checked_sub(right.1),
                _ => left.1.checked_mul(right.1),
            };
            (format!("({} {sign} {})", left.0, right.0), value.unwrap_or(i128::MAX))
        })
    })
}

fn evaluate(source: &str, budget: &mut Budget) -> Result<Value, ExpressionError> {
    let queries = BTreeMap::new();
    let facts = Facts { calls: &[], queries: &queries };
    Expression::parse(source, &[])?.evaluate(&facts, &[], budget)
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(source in any::<String>()) {
        let _ = evaluate(&source, &mut Budget::new(10_000));
    }

    #[test]
    fn what_looks_like_an_expression_ends_within_its_budget(source in any_expression()) {
        let mut budget = Budget::new(10_000);
        match evaluate(&source, &mut budget) {
            Ok(value) => prop_assert!(value.to_json().to_string().len() < 1_000_000),
            Err(error) => prop_assert!(error.column <= source.chars().count() + 1, "{error}"),
        }
    }

    #[test]
    fn the_type_that_is_promised_is_kept(source in any_expression()) {
        if let Ok(expression) = Expression::parse(&source, &[])
            && let Ok(value) = evaluate(&source, &mut Budget::new(10_000))
        {
            prop_assert!(value.kind().fits(expression.kind()), "{source}: {value:?} is no {}", expression.kind());
        }
    }

    #[test]
    fn arithmetic_is_exact_or_refused((source, expected) in sum()) {
        match (evaluate(&source, &mut Budget::default()), i64::try_from(expected)) {
            (Ok(Value::Int(value)), Ok(expected)) => prop_assert_eq!(value, expected),
            (Ok(value), _) => prop_assert!(false, "{source} gave {value:?}, not {expected}"),
            // A part may be too large although the whole is not; it is never wrong.
            (Err(error), _) => prop_assert_eq!(error.kind, Kind::Arithmetic),
        }
    }

    #[test]
    fn texts_are_left_as_they_are(text in "[^'\\\\]{0,80}") {
        prop_assert_eq!(evaluate(&format!("'{text}'"), &mut Budget::default()), Ok(Value::text(&text)));
    }
}
