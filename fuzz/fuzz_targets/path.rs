//! From the text of a path to a root: whatever a model writes, the result is relative and free of surprises.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use llmc_tools_fs::path::find;

const ROOTS: [(&str, &str); 3] =
    [("work", "/home/u/project"), ("docs", "/usr/share/doc"), ("sub", "/home/u/project/sub")];

fuzz_target!(|text: &str| {
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
});
