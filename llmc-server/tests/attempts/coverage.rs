//! Known lists of attacks: each of their cases has to be a row, or be held by a test that is named.

use std::collections::BTreeSet;

use crate::row::Section;

/// Ways out of a jail that other sandboxes test or were left by: the rows 1 to this, each with a source of its own.
pub(crate) const KNOWN_ESCAPES: u32 = 87;

/// The program that llmc replaces, as sources name it, and how many acceptance cases it has.
const ORIGINAL: &str = "vmlinuzx/llmc";
const ORIGINAL_CASES: u32 = 80;

/// What peers were attacked with: of each class the case that it is known by, as sources name it.
const OF_PEERS: [&str; 30] = [
    "CVE-2025-53110",
    "CVE-2025-53109",
    "rust-mcp-filesystem issue 91",
    "rust-mcp-filesystem pull request 94",
    "path-validation tests of the reference servers",
    "CVE-2025-54135",
    "CWE-88",
    "MCP-275",
    "CVE-2025-68143",
    "CVE-2025-68145",
    "CVE-2026-27735",
    "CVE-2025-11490",
    "CVE-2026-55887",
    "DockerDash",
    "CVE-2026-42559",
    "CVE-2025-6514",
    "Invariant Labs, tool poisoning",
    "policylayer.com on rug pulls",
    "tidebreak pull request 1095",
    "wassette grant-* tools",
    "open-mercato issue 1127",
    "pydantic-ai issue 2332",
    "SOCKS5 allow-list",
    "RustyClaw issue 22",
    "multi round-trip requests and state handles",
    "CVE-2026-0621",
    "MCP security best practices, SSRF",
    "postmark-mcp",
    "CVE-2025-53967",
    "RustyClaw issue 230",
];

/// Fails with the cases that nothing holds.
pub(crate) fn check(sections: &[Section]) {
    let missing = missing(sections);
    assert!(missing.is_empty(), "nothing holds {missing:?}");
}

fn missing(sections: &[Section]) -> Vec<String> {
    let rows = || sections.iter().flat_map(|section| &section.row);
    let of_rows = rows().filter_map(|row| row.source.as_deref());
    let held = sections.iter().flat_map(|section| &section.elsewhere).map(|held| &*held.source);
    let sources: Vec<&str> = of_rows.chain(held).collect();
    let numbers: BTreeSet<u32> = rows().filter(|row| row.source.is_some()).map(|row| row.number).collect();
    let cases: BTreeSet<u32> = sources.iter().flat_map(|source| cases(source)).collect();

    let escapes = (1..=KNOWN_ESCAPES).filter(|number| !numbers.contains(number));
    let escapes = escapes.map(|number| format!("row {number} with a source of its own"));
    let original = (1..=ORIGINAL_CASES).filter(|case| !cases.contains(case));
    let original = original.map(|case| format!("{ORIGINAL}, case {case}"));
    let of_peers = OF_PEERS.iter().filter(|name| !sources.iter().any(|source| source.contains(**name)));
    escapes.chain(original).chain(of_peers.map(|name| (*name).to_owned())).collect()
}

/// The cases of the original that a source names: `vmlinuzx/llmc TEST, cases 1, 2 and 5 to 7 (REMARK); others`.
fn cases(source: &str) -> Vec<u32> {
    let own = source.split(';').filter(|part| part.contains(ORIGINAL));
    own.filter_map(|part| part.split_once(", case")).flat_map(|(_, list)| numbers(list)).collect()
}

/// `s 1, 2 and 5 to 7`, up to the first other word.
fn numbers(list: &str) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::new();
    let mut is_range = false;
    for word in list.trim_start_matches('s').split([' ', ',']).filter(|word| !word.is_empty()) {
        match (word, word.parse()) {
            ("and", _) => {}
            ("to", _) => is_range = true,
            (_, Ok(number)) => {
                let from = found.last().filter(|_| is_range).map_or(number, |last| last + 1);
                found.extend(from..=number);
                is_range = false;
            }
            (_, Err(_)) => break,
        }
    }
    found
}

#[test]
fn cases_are_read_from_sources() {
    for (source, expected) in [
        ("vmlinuzx/llmc, case 7", &[7][..]),
        ("vmlinuzx/llmc maasl, cases 36 to 38 and 42", &[36, 37, 38, 42]),
        ("vmlinuzx/llmc, case 12 (audit 12-12, VULN-002)", &[12]),
        ("CVE-1, case 9; vmlinuzx/llmc audit, cases 1, 2, 5, 17; others, case 3", &[1, 2, 5, 17]),
        ("somebody else, case 4", &[]),
        ("vmlinuzx/llmc", &[]),
    ] {
        assert_eq!(cases(source), expected, "{source}");
    }
}

#[test]
fn what_is_missing_is_named() {
    let section = Section::read(
        "name = 'n'\n[[row]]\nnumber = 1\ntitle = 't'\nsource = 'vmlinuzx/llmc, cases 1 to 79; CWE-88'\n\
         [[row]]\nnumber = 2\ntitle = 'u'\n",
    );
    let missing = missing(&[section]);
    let is_missing = |what: &str| missing.iter().any(|name| name == what);
    assert!(is_missing("vmlinuzx/llmc, case 80") && !is_missing("vmlinuzx/llmc, case 79"), "{missing:?}");
    assert!(is_missing("row 2 with a source of its own") && is_missing("row 87 with a source of its own"));
    assert!(!is_missing("row 1 with a source of its own") && is_missing("MCP-275") && !is_missing("CWE-88"));
}
