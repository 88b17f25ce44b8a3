//! Which files there are: everything but hidden names, links, what ignore files hide and what nobody reads.
//!
//! What was listed is remembered: a directory whose times are those of the last look has the same names in it, and only
//! its files are looked at. There is no watching: inotify is refused to plugins, since Landlock does not rule it, and it
//! would tell what happens outside of the roots.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, OFlags, Stat, fstat, statat};

use super::ignored::Ignored;
use super::open::{mtime_ns, open};
use crate::limits::{MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES, RACY};
use crate::syntax::Language;

/// How long lists are believed, for file systems that do not tell when a directory changed.
const MAX_LIST_AGE: Duration = Duration::from_secs(60);

/// A file that may be indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// From the root, with `/`.
    pub(crate) path: String,
    pub(crate) size: i64,
    pub(crate) mtime_ns: i64,
    pub(crate) language: Language,
}

/// The files of a root, sorted by path.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) files: Vec<Found>,
    /// Directories that could not be read. What is in them is not known to be gone.
    pub(crate) unread: Vec<String>,
    /// Whether there are more files than are looked at.
    pub(crate) too_many: bool,
}

/// What was listed in the directories of a root.
#[derive(Debug)]
pub(crate) struct Lists {
    begun: Instant,
    /// What changed so recently may change again without another time.
    settle: Duration,
    lists: HashMap<String, List>,
}

impl Default for Lists {
    fn default() -> Self {
        Self { begun: Instant::now(), settle: RACY, lists: HashMap::new() }
    }
}

/// What a directory holds.
#[derive(Debug)]
struct List {
    stamp: Stamp,
    /// Those that may hold rules; nothing for one that is not there.
    ignore_files: Vec<(&'static str, Option<Stamp>)>,
    ignored: Arc<Ignored>,
    files: Vec<(String, Language)>,
    directories: Vec<String>,
}

/// Changes with what it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: i64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A directory that is still to be looked at.
struct Waiting {
    path: String,
    depth: usize,
    above: Arc<Ignored>,
    /// Whether the rules above are the ones of the last look.
    same_rules: bool,
}

/// Walks a root; `go_on` is asked at each directory.
pub(crate) fn walk(root: BorrowedFd<'_>, lists: &mut Lists, go_on: &dyn Fn() -> bool) -> Option<Walked> {
    if lists.begun.elapsed() > MAX_LIST_AGE {
        *lists = Lists { settle: lists.settle, ..Lists::default() };
    }
    let mut walked = Walked::default();
    let mut before = std::mem::take(&mut lists.lists);
    let first = Waiting { path: String::new(), depth: 0, above: Arc::default(), same_rules: true };
    let mut waiting = vec![first];
    while let Some(Waiting { path, depth, above, same_rules }) = waiting.pop() {
        if !go_on() {
            return None;
        }
        let name = if path.is_empty() { "." } else { &path };
        let opened = open(root, name, OFlags::DIRECTORY).ok();
        let known = before.remove(&path).filter(|_| same_rules);
        let read = opened.and_then(|dir| read(dir, &path, above, known));
        let Some((dir, list, is_known)) = read else {
            walked.unread.push(path);
            continue;
        };
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        for (name, language) in &list.files {
            let Ok(stat) = statat(&dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let is_fit = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && (1..=MAX_FILE_BYTES.cast_signed()).contains(&stat.st_size);
            if is_fit {
                let (size, mtime_ns) = (stat.st_size, mtime_ns(&stat));
                walked.files.push(Found { path: below(name), size, mtime_ns, language: *language });
            }
        }
        if walked.files.len() > MAX_FILES {
            walked.too_many = true;
            break;
        }
        if depth < MAX_DEPTH {
            waiting.extend(list.directories.iter().map(|name| Waiting {
                path: below(name),
                depth: depth + 1,
                above: Arc::clone(&list.ignored),
                same_rules: is_known,
            }));
        }
        if list.is_settled(lists.settle) {
            lists.lists.insert(path, list);
        }
    }
    walked.files.truncate(MAX_FILES);
    walked.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Some(walked)
}

/// Lists a directory, or takes the list of the last look if nothing has changed since; tells which of the two.
fn read(dir: OwnedFd, path: &str, above: Arc<Ignored>, known: Option<List>) -> Option<(OwnedFd, List, bool)> {
    // Before the names are read, so that a later change shows.
    let stamp = Stamp::of(&fstat(&dir).ok()?);
    let same_rules =
        |known: &List| known.ignore_files.iter().all(|(name, stamp)| stamp_of(dir.as_fd(), name) == *stamp);
    if let Some(known) = known.filter(|known| known.stamp == stamp && same_rules(known)) {
        return Some((dir, known, true));
    }
    let entries = entries(dir.as_fd())?;
    let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
    let ignore_files = [(".ignore", ".ignore"), (".gitignore", ".gitignore"), (".git", ".git/info/exclude")];
    let ignore_files = ignore_files.into_iter().filter(|(name, _)| names.contains(name));
    let ignore_files = ignore_files.map(|(_, file)| (file, stamp_of(dir.as_fd(), file))).collect();
    let ignored = Ignored::enter(above, dir.as_fd(), path, &names);
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for (name, kind) in entries.into_iter().filter(|(name, _)| !name.starts_with('.')) {
        let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        match kind {
            FileType::Directory if !ignored.hides(&below, true) => directories.push(name),
            FileType::RegularFile if !ignored.hides(&below, false) => {
                files.extend(Language::of(&name).map(|language| (name, language)));
            }
            _ => {}
        }
    }
    Some((dir, List { stamp, ignore_files, ignored, files, directories }, false))
}

impl List {
    /// Whether a further change would show in its stamps: times have steps, of up to some milliseconds.
    fn is_settled(&self, settle: Duration) -> bool {
        let then = SystemTime::now() - settle;
        let then = then.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let stamps = self.ignore_files.iter().flat_map(|(_, stamp)| stamp).chain([&self.stamp]);
        let latest = stamps.map(|stamp| stamp.changed.max(stamp.modified)).max();
        latest.is_some_and(|latest| latest < (then.as_secs().cast_signed(), i64::from(then.subsec_nanos())))
    }
}

impl Stamp {
    #[expect(clippy::unnecessary_cast, reason = "the types of the fields are not the same everywhere")]
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            size: stat.st_size,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

fn stamp_of(dir: BorrowedFd<'_>, name: &str) -> Option<Stamp> {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).ok().as_ref().map(Stamp::of)
}

/// Names that are UTF-8, and what they are; `None` if the directory cannot be read.
fn entries(dir: BorrowedFd<'_>) -> Option<Vec<(String, FileType)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(dir).ok()? {
        let entry = entry.ok()?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if matches!(name, "." | "..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not tell in the listing.
            FileType::Unknown => match statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            kind => kind,
        };
        entries.push((name.to_owned(), kind));
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    #[test]
    fn what_rg_leaves_out_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        for path in [
            "a.rs",
            "sub/b.py",
            "sub/target/c.rs",
            "log.txt",
            "sub/keep.txt",
            ".hidden/d.rs",
            "empty.rs",
            "x.po",
        ] {
            write(path, if path == "empty.rs" { "" } else { "text" });
        }
        write(".gitignore", "target/\n*.txt\n");
        write("sub/.gitignore", "!keep.txt\n");
        let found = || -> Vec<String> {
            let walked =
                walk(File::open(folder.path()).unwrap().as_fd(), &mut Lists::default(), &|| true).unwrap();
            walked.files.into_iter().map(|file| file.path).collect()
        };
        assert_eq!(found(), ["a.rs", "log.txt", "sub/b.py", "sub/keep.txt", "sub/target/c.rs"]);
        fs::create_dir(folder.path().join(".git")).unwrap();
        assert_eq!(found(), ["a.rs", "sub/b.py", "sub/keep.txt"]);
        write("sub/.ignore", "b.py\n");
        assert_eq!(found(), ["a.rs", "sub/keep.txt"]);
    }

    #[test]
    fn links_and_pipes_are_no_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("real.rs"), "fn a() {}").unwrap();
        std::os::unix::fs::symlink("real.rs", folder.path().join("link.rs")).unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("etc")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe.rs"), FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        let root = File::open(folder.path()).unwrap();
        let walked = walk(root.as_fd(), &mut Lists::default(), &|| true).unwrap();
        assert_eq!(walked.files.len(), 1);
        for path in ["link.rs", "etc/hostname", "../etc/hostname", "/etc/hostname", "pipe.rs", "real.rs/x"] {
            assert!(super::super::read(root.as_fd(), path, 100).is_err(), "{path}");
        }
        assert_eq!(super::super::read(root.as_fd(), "real.rs", 100).unwrap().bytes, b"fn a() {}");
    }

    #[test]
    fn what_was_listed_before_is_looked_at_again_when_it_changed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        // Longer than a step of the clock that files get their times from.
        let step = Duration::from_millis(50);
        let write = |path: &str, text: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        };
        write("a/b/one.rs", "1");
        write("a/two.rs", "2");
        write("a/.ignore", "nothing\n");
        let mut lists = Lists { settle: step / 2, ..Lists::default() };
        let root = File::open(folder.path()).unwrap();
        let mut walk = || -> Vec<String> {
            std::thread::sleep(step);
            let walked = walk(root.as_fd(), &mut lists, &|| true).unwrap();
            assert_eq!(lists.lists.len(), 3, "lists are kept once they are settled");
            walked.files.into_iter().map(|file| file.path).collect()
        };
        assert_eq!(walk(), ["a/b/one.rs", "a/two.rs"]);
        assert_eq!(walk(), ["a/b/one.rs", "a/two.rs"]);
        write("a/b/three.rs", "3");
        assert_eq!(walk(), ["a/b/one.rs", "a/b/three.rs", "a/two.rs"]);
        // Neither changes the directory that it is in.
        write("a/two.rs", "");
        write("a/.ignore", "one.rs\n");
        assert_eq!(walk(), ["a/b/three.rs"]);
        fs::remove_file(at("a/.ignore")).unwrap();
        fs::rename(at("a/b/three.rs"), at("a/b/four.rs")).unwrap();
        assert_eq!(walk(), ["a/b/four.rs", "a/b/one.rs"]);
        fs::remove_dir_all(at("a/b")).unwrap();
        write("a/b/five.rs", "5");
        assert_eq!(walk(), ["a/b/five.rs"]);
    }
}
