//! The argument rules of programs: every command line is decided, and what is allowed shows no refused flag.

#![no_main]

use libfuzzer_sys::fuzz_target;
use llmc_rules::{Decision, Place, shipped, shipped_names};

/// Flags that are refused whatever else is said, by set.
const REFUSED: [(&str, &str); 5] =
    [("git", "--upload-pack=x"), ("cargo", "--config=x"), ("rg", "--pre=x"), ("find", "-exec"), ("make", "--eval=x")];

fuzz_target!(|args: Vec<&str>| {
    let place = Place::new(Some("/work"), ["/work"]);
    for name in shipped_names() {
        let Some(set) = shipped(name) else { continue };
        let explanation = set.explain(&args, &place);
        assert!(explanation.readings.len() <= args.len());
        if let Decision::Refused(refusal) = explanation.decision {
            assert!(refusal.index <= args.len());
        }
    }
    for (name, flag) in REFUSED {
        let Some(set) = shipped(name) else { continue };
        let end = args.iter().position(|arg| *arg == "--").filter(|_| name != "find").unwrap_or(args.len());
        for at in 0..=end.min(16) {
            let mut args = args.clone();
            args.insert(at, flag);
            assert_ne!(set.decide(&args, &place), Decision::Allowed, "{name} {args:?}");
        }
    }
});
