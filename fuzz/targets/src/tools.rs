//! What the file tools and the rules for programs make of arguments.

use std::path::{Component, Path};
use std::str::from_utf8;

use llmc_rules::{Decision, Place, shipped, shipped_names};
use llmc_tools_fs::edit::{Edit, apply};
use llmc_tools_fs::path::find;

const ROOTS: [(&str, &str); 3] =
    [("work", "/home/u/project"), ("docs", "/usr/share/doc"), ("sub", "/home/u/project/sub")];

/// Flags that are refused whatever else is said, by set.
const REFUSED: [(&str, &str); 5] = [
    ("git", "--upload-pack=x"),
    ("cargo", "--config=x"),
    ("rg", "--pre=x"),
    ("find", "-exec"),
    ("make", "--eval=x"),
];

/// Whatever a model writes, the result is relative and free of surprises.
pub fn path(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    let roots = ROOTS.map(|(name, path)| (name, Path::new(path)));
    if let Ok((index, path)) = find(text, &roots) {
        assert!(index < roots.len());
        assert!(!path.as_os_str().is_empty() && !text.contains('\0'));
        let kept = |part: Component<'_>| match part {
            Component::Normal(_) | Component::ParentDir => true,
            Component::CurDir => path.as_os_str() == ".",
            Component::RootDir | Component::Prefix(_) => false,
        };
        assert!(path.components().all(kept), "{path:?}");
        // What results say can be asked for again.
        let again = format!("{}:{}", roots[index].0, path.display());
        assert_eq!(find(&again, &roots), Ok((index, path)));
    }
}

/// A file, then edits of three parts each: old text, new text, count; parts end with NUL. The first bit of the first
/// byte says whether white space counts.
pub fn edit(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0);
    let bytes = parts.next().unwrap_or_default().to_vec();
    let ignore_whitespace = input.first().is_some_and(|byte| byte & 0x80 != 0);
    let parts: Vec<&[u8]> = parts.collect();
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let edit = |three: &[&[u8]]| Edit {
        old: text(three[0]),
        new: text(three[1]),
        expected_count: three[2].first().copied().unwrap_or(1).into(),
    };
    let edits: Vec<Edit> = parts.chunks_exact(3).take(16).map(edit).collect();
    let Ok(edited) = apply(bytes.clone(), &edits, ignore_whitespace, || Ok(())) else { return };
    let wanted: u64 = edits.iter().map(|edit| u64::from(edit.expected_count)).sum();
    assert_eq!(edited.replacements as u64, wanted);

    // Where nothing is special, it is what the standard library does.
    let is_plain = |text: &str| !text.contains(['\r', '\u{feff}']);
    if let ([edit], false, Ok(text)) = (&edits[..], ignore_whitespace, from_utf8(&bytes))
        && is_plain(text)
        && is_plain(&edit.old)
        && is_plain(&edit.new)
    {
        assert_eq!(edited.bytes, text.replace(&edit.old, &edit.new).into_bytes());
    }
}

/// Which set, in the first byte, and where a refused flag is put in, in the second one, both counted from `0`; then
/// arguments, one a line: every command line is decided, and what is allowed shows no refused flag.
pub fn rules(input: &[u8]) {
    let [which, at, text @ ..] = input else { return };
    let Ok(text) = from_utf8(text) else { return };
    let mut args: Vec<&str> = text.split('\n').collect();
    let place = Place::new(Some("/work"), ["/work"]);
    let counted = |byte: u8, count: usize| usize::from(byte.wrapping_sub(b'0')) % count;
    let names: Vec<&str> = shipped_names().collect();
    let Some(set) = names.get(counted(*which, names.len())).and_then(|name| shipped(name)) else { return };

    let explanation = set.explain(&args, &place);
    assert!(explanation.readings.len() <= args.len());
    if let Decision::Refused(refusal) = explanation.decision {
        assert!(refusal.index <= args.len());
    }

    let Some((name, flag)) = REFUSED.iter().find(|(name, _)| *name == set.name()) else { return };
    let end = args.iter().position(|arg| *arg == "--").filter(|_| *name != "find").unwrap_or(args.len());
    args.insert(counted(*at, end + 1), flag);
    assert_ne!(set.decide(&args, &place), Decision::Allowed, "{name} {args:?}");
}
