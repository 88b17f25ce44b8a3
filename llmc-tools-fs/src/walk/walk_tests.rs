//! The walk that the tools share.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use llmc_core::code;
use llmc_core::testing::Harness;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::*;
use crate::limits::MAX_WALK_DEPTH;
use crate::path::Place;
use crate::testing::Playground;

const PLAIN: Options = Options { hidden: false, ignored: false, max_depth: usize::MAX };
const ALL: Options = Options { hidden: true, ignored: true, max_depth: usize::MAX };

/// Wants everything, and looks on.
struct All<F: Fn(&Seen<'_>) + Sync>(F);

impl<F: Fn(&Seen<'_>) + Sync> Wanted for All<F> {
    type Note = ();

    fn fits(&self, entry: &Seen<'_>) -> bool {
        (self.0)(entry);
        true
    }

    fn note(&self, _: &Seen<'_>) -> Option<()> {
        Some(())
    }
}

fn start<'a>(roots: &'a [llmc_core::Root], path: &str) -> ToolResult<(Place<'a>, Start)> {
    let place = Place::parse(path, roots)?;
    let start = Start::open("walk", &place)?;
    Ok((place, start))
}

fn paths<T>(found: &Found<T>) -> Vec<String> {
    let (mut paths, mut path) = (Vec::new(), Vec::new());
    found.each(|dir, entry| {
        dir.path_of(entry, &mut path);
        paths.push(String::from_utf8_lossy(&path).into_owned());
    });
    paths
}

fn walk_from(harness: &Harness, path: &str, options: Options) -> Vec<String> {
    let ctx = harness.context();
    let (_, start) = start(ctx.roots().unwrap(), path).unwrap();
    paths(&walk(&start, options, &All(|_| ()), &ctx).unwrap())
}

fn plain(playground: &Playground) -> Vec<String> {
    walk_from(&playground.harness, ".", PLAIN)
}

/// The same with the walker of ripgrep.
fn oracle(playground: &Playground, path: &str, options: Options) -> Vec<String> {
    let top = playground.path(path);
    let mut builder = ignore::WalkBuilder::new(&top);
    builder.hidden(!options.hidden).git_global(false);
    if options.ignored {
        builder.ignore(false).git_ignore(false).git_exclude(false).parents(false);
    }
    // With hidden files, `rg` shows those of git itself.
    builder.filter_entry(move |entry| options.ignored || entry.file_name() != ".git");
    let found = builder.build().map(|entry| entry.unwrap().into_path());
    let mut found: Vec<PathBuf> = found.filter(|path| *path != top).collect();
    found.sort();
    found.iter().map(|path| path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn paths_are_sorted_by_component() {
    let playground = Playground::new();
    for path in ["b/c/1", "b/2", "b-a", "b.x/y", "a", "b/c-d", "B", "é"] {
        playground.file(path, "");
    }
    let expected = ["B", "a", "b", "b/2", "b/c", "b/c/1", "b/c-d", "b-a", "b.x", "b.x/y", "é"];
    assert_eq!(plain(&playground), expected);
    assert_eq!(walk_from(&playground.harness, "b", PLAIN), ["2", "c", "c/1", "c-d"]);
}

#[test]
fn a_large_tree_looks_the_same_every_time() {
    let playground = Playground::new();
    for number in 0..2000 {
        playground.file(&format!("{}/{}/{number}", number % 7, number % 40), "");
    }
    let expected = oracle(&playground, "", PLAIN);
    assert!(expected.len() > 2200);
    for _ in 0..20 {
        assert_eq!(plain(&playground), expected);
    }
}

#[test]
fn links_are_seen_and_not_followed() {
    let playground = Playground::new();
    playground.file("dir/inside", "").link("to_dir", "dir").link("loop", ".").link("dir/up", "..");
    playground.link("out", playground.outside()).link("nowhere", "gone").fifo("pipe");
    let expected = ["dir", "dir/inside", "dir/up", "loop", "nowhere", "out", "pipe", "to_dir"];
    assert_eq!(plain(&playground), expected);
    assert_eq!(walk_from(&playground.harness, "to_dir", PLAIN), ["inside", "up"], "named, it is followed");
}

#[test]
fn a_start_outside_is_refused() {
    let playground = Playground::new();
    playground.link("out", playground.outside()).file("file", "");
    let roots = playground.roots();
    for path in ["out", "..", "out/project2", "/etc"] {
        assert_eq!(start(&roots, path).err().unwrap().code(), code::DENIED, "{path}");
    }
    assert!(start(&roots, "file").err().unwrap().message().contains("is not a directory"));
}

#[test]
fn a_directory_that_is_swapped_for_a_link_leads_nowhere() {
    let playground = Playground::new();
    playground.file("swapped/mine", "").file("other", "");
    // Enough directories that the walk is busy between seeing `swapped` and reading it.
    for number in 0..50 {
        playground.file(&format!("{number}/x"), "");
    }
    fs::create_dir(playground.outside().join("project2/below")).unwrap();
    playground.link("link", playground.outside().join("project2"));
    let (over, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (dir, link) = (playground.path("swapped"), playground.path("link"));
    let mut inside = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, &dir, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        // Exchanges are much faster than walks: some of which must meet the directory.
        while swaps.load(Ordering::Relaxed) < 2000 || inside < 10 {
            let seen = plain(&playground);
            inside += seen.iter().filter(|path| path.ends_with("/mine")).count();
            assert!(!seen.iter().any(|path| path.contains("secret") || path.contains("below")), "{seen:?}");
        }
        over.store(true, Ordering::Relaxed);
    });
    assert!(inside >= 10, "the honest half of the game");
}

#[test]
fn few_descriptors_are_open_at_a_time() {
    let playground = Playground::new();
    for number in 0..600 {
        playground.file(&format!("{number}/a/b/c"), "");
    }
    let inside = playground.path("").canonicalize().unwrap();
    let most = AtomicUsize::new(0);
    let look = All(|seen: &Seen<'_>| {
        assert!(seen.dir.as_raw_fd() >= 0);
        let open = fs::read_dir("/proc/self/fd").unwrap();
        let targets = open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        most.fetch_max(targets.filter(|target| target.starts_with(&inside)).count(), Ordering::Relaxed);
    });
    let ctx = playground.harness.context();
    let (_, start) = start(ctx.roots().unwrap(), ".").unwrap();
    assert_eq!(walk(&start, PLAIN, &look, &ctx).unwrap().len(), 1 + 3 * 600);
    // The root, the start, a directory for each thread.
    let most = most.into_inner();
    assert!((3..=2 + crate::limits::MAX_WALK_THREADS).contains(&most), "{most}");
}

#[test]
fn hidden_names_are_seen_on_request() {
    let playground = Playground::new();
    playground.file(".hidden/a", "").file("b/.c", "").file(".git/config", "").file("..odd", "");
    assert_eq!(plain(&playground), ["b"]);
    let hidden = Options { hidden: true, ..PLAIN };
    assert_eq!(walk_from(&playground.harness, ".", hidden), ["..odd", ".hidden", ".hidden/a", "b", "b/.c"]);
    assert!(walk_from(&playground.harness, ".", ALL).contains(&".git/config".to_owned()));
    assert_eq!(walk_from(&playground.harness, ".git", PLAIN), ["config"], "asked for by name");
}

/// A tree with ignore files of all sorts.
fn ignoring() -> Playground {
    let playground = Playground::new();
    for path in [
        "a.log",
        "keep.log",
        "dir/a.log",
        "dir/deep/a.tmp",
        "dir/deep/keep.tmp",
        "build/x",
        "dir/build/x",
        "src/build",
        "src/only.txt",
        "src/rooted",
        "rooted",
        "src/.hidden/x",
        "target/x/y",
        "excluded",
        "src/excluded",
        "repo/own.txt",
        "repo/a.log",
        "repo/sub/own.txt",
        "repo/sub/b",
        ".github/workflow",
        ".cache/x",
        "spaced name",
        "src/nested/only.txt",
        "src/nested/deeper/b.rs",
        "plain/a.log",
    ] {
        playground.file(path, "");
    }
    playground
        .file(".gitignore", "\u{FEFF}*.log\n!keep.log\n/rooted\nbuild/\ntarget\n# comment\n\\#odd\n!.github\nspaced\\ name\n[")
        .file("dir/deep/.gitignore", "*.tmp\n!keep.tmp\n")
        .file("src/.ignore", "only.txt\n!build\n")
        .file("src/nested/.gitignore", "!only.txt\n**/b.rs\n")
        .file("repo/.gitignore", "own.txt\n")
        .file("plain/.ignore", "!a.log\n");
    playground
}

#[test]
fn ignore_files_mean_what_they_mean_to_ripgrep() {
    let playground = ignoring();
    let mut seen = BTreeSet::new();
    for step in 0..4_usize {
        let new = [None, Some(".git/info/exclude"), Some("repo/.git/HEAD"), Some("dir/.git")][step];
        if let Some(path) = new {
            playground.file(path, "excluded\n");
        }
        for options in [PLAIN, Options { hidden: true, ..PLAIN }, Options { ignored: true, ..PLAIN }, ALL] {
            for path in
                ["", "src", "src/nested", "dir", "dir/deep", "repo", "repo/sub", "target", "plain", ".github"]
            {
                let ours = walk_from(&playground.harness, &format!("./{path}"), options);
                assert_eq!(ours, oracle(&playground, path, options), "step {step}, {path:?}, {options:?}");
                seen.insert(ours);
            }
        }
    }
    assert!(seen.len() > 20, "the trees differ: {}", seen.len());
}

#[test]
fn random_ignore_files_mean_the_same_too() {
    let mut state = 7_u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let globs = [
        "a", "/a", "a/", "/b/", "!a", "!/b", "*", "!*/", "*.c", "!*.c", "**/b", "b/**", "!b/**", "a/b",
        "/a/b", "!a/b", "b/*", ".a", "!.a", "?", "[ab]", "!c.c", "a/**/c.c",
    ];
    for _ in 0..12 {
        let playground = Playground::new();
        let dirs = ["", "a/", "b/", "a/b/", "a/b/a/", ".a/", "b/a/"];
        for dir in dirs {
            for name in ["a", "b", ".a", "c.c"] {
                if !playground.path(&format!("{dir}{name}")).exists() {
                    playground.file(&format!("{dir}{name}/c.c"), "");
                }
            }
            for name in [".gitignore", ".ignore"] {
                let lines: Vec<_> = (0..random(4)).map(|_| globs[random(globs.len())]).collect();
                playground.file(&format!("{dir}{name}"), lines.join("\n"));
            }
            if random(3) == 0 {
                playground.file(&format!("{dir}.git/info/exclude"), globs[random(globs.len())]);
            }
        }
        for options in [PLAIN, Options { hidden: true, ..PLAIN }] {
            for path in ["", "a", "a/b", ".a", "b/a"] {
                let ours = walk_from(&playground.harness, &format!("./{path}"), options);
                assert_eq!(ours, oracle(&playground, path, options), "{path:?}, {options:?}");
            }
        }
    }
}

#[test]
fn ignore_files_above_count_behind_a_link_too() {
    let playground = Playground::new();
    playground
        .file(".git/HEAD", "")
        .file("real/.gitignore", "/sub/x\n")
        .file("real/sub/x", "")
        .file("real/sub/y", "");
    playground.link("link", "real/sub");
    assert_eq!(walk_from(&playground.harness, "real/sub", PLAIN), ["y"]);
    assert_eq!(walk_from(&playground.harness, "link", PLAIN), ["y"]);
    assert_eq!(walk_from(&playground.harness, "real/sub/../../link", PLAIN), ["y"]);
}

#[test]
fn an_ignore_file_that_is_a_link_or_no_file_is_not_read() {
    let playground = Playground::new();
    fs::write(playground.outside().join("rules"), "a\n").unwrap();
    playground.file("a", "").file("dir/a", "").file("other/a", "");
    playground.link(".ignore", playground.outside().join("rules")).fifo("dir/.ignore");
    fs::create_dir(playground.path("other/.ignore")).unwrap();
    assert_eq!(plain(&playground), ["a", "dir", "dir/a", "other", "other/a"]);
}

#[test]
fn a_hostile_ignore_file_costs_little() {
    let playground = Playground::new();
    let hostile = (0..100_000).map(|number| format!("*a{number}*b*c*{number}*?[!x]*\n")).collect::<String>();
    playground.file(".ignore", hostile).file("a", "").file("b/c", "");
    let begin = std::time::Instant::now();
    assert_eq!(plain(&playground), ["a", "b", "b/c"]);
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}

#[test]
fn what_cannot_be_read_is_counted() {
    let playground = Playground::new();
    let deep = vec!["d"; MAX_WALK_DEPTH + 5].join("/");
    playground.file(&format!("{deep}/x"), "").file("a", "");
    let ctx = playground.harness.context();
    let (_, start) = start(ctx.roots().unwrap(), ".").unwrap();
    let found = walk(&start, PLAIN, &All(|_| ()), &ctx).unwrap();
    assert_eq!(paths(&found).len(), 1 + MAX_WALK_DEPTH + 1);
    assert_eq!(found.gaps, Gaps { too_deep: 1, ..Gaps::default() });
    assert_eq!(found.gaps.notes(), ["1 directory more than 200 deep not entered; start further down"]);
    let shallow = walk(&start, Options { max_depth: 3, ..PLAIN }, &All(|_| ()), &ctx).unwrap();
    assert_eq!((paths(&shallow).len(), shallow.gaps), (1 + 4, Gaps::default()), "asked for, so no gap");
}

#[test]
fn a_walk_ends_after_many_entries_and_says_so() {
    let playground = Playground::new();
    for number in 0..300 {
        playground.file(&format!("{}/{number}", number % 30), "");
    }
    let ctx = playground.harness.context();
    let (_, start) = start(ctx.roots().unwrap(), ".").unwrap();
    let all = All(|_: &Seen<'_>| ());
    let limited = |max_entries| {
        let mut walk = read::Walk::new(&start, PLAIN, &all, &ctx);
        walk.max_entries = max_entries;
        walk.run().unwrap()
    };
    let found = limited(100);
    assert!(found.gaps.ended && (100..330).contains(&paths(&found).len()), "{}", paths(&found).len());
    assert!(found.gaps.notes()[0].contains("the walk ended after 500000 entries"));
    assert!(!limited(331).gaps.ended);
}

#[test]
fn a_cancelled_walk_ends() {
    let playground = Playground::new();
    playground.file("a/b", "");
    let seen = Mutex::new(0);
    let look = All(|_: &Seen<'_>| *seen.lock().unwrap() += 1);
    let late = Harness::new().time_left(std::time::Duration::ZERO);
    for (harness, expected) in [(&late, code::TIMED_OUT), (&playground.harness, code::CANCELLED)] {
        let roots = playground.roots();
        let (_, start) = start(&roots, ".").unwrap();
        if expected == code::CANCELLED {
            harness.cancel();
        }
        assert_eq!(walk(&start, PLAIN, &look, &harness.context()).err().unwrap().code(), expected);
    }
    assert_eq!(seen.into_inner().unwrap(), 0);
}
