//! What had to hold.

use llmc_proof::{Claim, Part};

/// A claim about something that must not be there: the first few of what is.
pub(crate) fn none(what: &str, expected: &str, found: &[String]) -> Claim {
    const SHOWN: usize = 5;
    let seen = match found {
        [] => "none".to_owned(),
        found => {
            let shown = found.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
            format!("{}: {shown}", found.len())
        }
    };
    claim(what, expected, &seen, found.is_empty())
}

/// A claim.
pub(crate) fn claim(what: &str, expected: &str, seen: &str, held: bool) -> Claim {
    Claim { what: what.into(), expected: expected.into(), seen: seen.into(), held }
}

/// Shows the claims and tables of a part.
pub(crate) fn print(part: &Part) {
    for table in &part.tables {
        println!("{}", table.title);
        for row in &table.rows {
            println!("  {}", row.join("  "));
        }
        println!();
    }
    for Claim { what, expected, seen, held } in &part.claims {
        let word = if *held { "held  " } else { "BROKEN" };
        println!("{word} {what}\n       expected {expected}; seen {seen}");
    }
    for left_out in &part.left_out {
        println!("not tried: {left_out}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_breaks_the_claim_and_is_named() {
        assert!(none("a", "b", &[]).held);
        let broken = none("a", "b", &["here".into(), "there".into()]);
        assert_eq!((broken.held, broken.seen.as_str()), (false, "2: here; there"));
    }
}
