//! What `git status --porcelain=v2 --branch` says, for a reader. Pure.

use crate::clean;

/// The kinds of changes, in the order in which they matter.
const KINDS: [&str; 4] = ["conflicts", "staged", "not staged", "untracked"];
/// Names that are shown of each kind.
const SHOWN: usize = 20;

/// A summary, and the number of files that are not as committed.
pub(super) fn summary(porcelain: &str) -> (String, u64) {
    let mut branch = String::from("on no branch");
    let mut kinds: [Vec<String>; 4] = Default::default();
    let mut paths = std::collections::BTreeSet::new();
    for line in porcelain.lines() {
        match line.split_once(' ') {
            Some(("#", about)) => tell_branch(about, &mut branch),
            Some(("?", path)) => {
                kinds[3].push(path.to_owned());
                paths.insert(path.to_owned());
            }
            Some((kind @ ("1" | "2" | "u"), rest)) => {
                let fields = match kind {
                    "1" => 7,
                    "2" => 8,
                    _ => 9,
                };
                let mut parts = rest.splitn(fields + 1, ' ');
                let state = parts.next().unwrap_or_default().to_owned();
                let path = parts.last().unwrap_or_default().split('\t').next().unwrap_or_default().to_owned();
                let letter = |at: usize| state.chars().nth(at).filter(|letter| *letter != '.');
                if kind == "u" {
                    kinds[0].push(format!("{state} {path}"));
                } else {
                    kinds[1].extend(letter(0).map(|letter| format!("{letter} {path}")));
                    kinds[2].extend(letter(1).map(|letter| format!("{letter} {path}")));
                }
                paths.insert(path);
            }
            _ => {}
        }
    }
    let mut text = format!("{}\n", clean::line(&branch));
    for (kind, names) in KINDS.iter().zip(&kinds).filter(|(_, names)| !names.is_empty()) {
        text.push_str(&format!("{kind}: {}\n", names.len()));
        text.extend(names.iter().take(SHOWN).map(|name| format!("  {}\n", clean::line(name))));
        if names.len() > SHOWN {
            text.push_str(&format!("  ... {} more\n", names.len() - SHOWN));
        }
    }
    if paths.is_empty() {
        text.push_str("clean\n");
    }
    (text, paths.len() as u64)
}

fn tell_branch(about: &str, branch: &mut String) {
    match about.split_once(' ') {
        Some(("branch.head", name)) => *branch = format!("on {name}"),
        Some(("branch.upstream", name)) => branch.push_str(&format!(", upstream {name}")),
        Some(("branch.ab", counts)) => branch.push_str(&format!(" {counts}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_and_named() {
        let porcelain = "# branch.oid 12\n# branch.head main\n# branch.upstream o/main\n# branch.ab +1 -2\n\
                         1 MM N... 1 2 3 a b with space.rs\n1 A. N... 1 2 3 a b new.rs\n\
                         2 R. N... 1 2 3 a b R100 to.rs\tfrom.rs\n? loose.txt\nu UU N... 1 2 3 4 a b c both.rs\n";
        let (text, files) = summary(porcelain);
        let expected = "on main, upstream o/main +1 -2\nconflicts: 1\n  UU both.rs\n\
                        staged: 3\n  M with space.rs\n  A new.rs\n  R to.rs\nnot staged: 1\n  M with space.rs\n\
                        untracked: 1\n  loose.txt\n";
        assert_eq!((&*text, files), (expected, 5));
        assert_eq!(summary("# branch.head main\n").0, "on main\nclean\n");
        let many: String = (0..30).map(|n| format!("? f{n}\n")).collect();
        assert!(summary(&many).0.ends_with("  ... 10 more\n"));
    }
}
