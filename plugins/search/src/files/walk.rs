//! Which files there are: everything but hidden names, links, what ignore files hide and what nobody reads.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, OFlags, statat};

use super::ignored::Ignored;
use super::open::{mtime_ns, open};
use crate::limits::{MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES};
use crate::syntax::Language;

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

/// Walks a root; `go_on` is asked at each directory.
pub(crate) fn walk(root: BorrowedFd<'_>, go_on: &dyn Fn() -> bool) -> Option<Walked> {
    let mut walked = Walked::default();
    let mut waiting = vec![(String::new(), 0, Arc::new(Ignored::default()))];
    while let Some((path, depth, above)) = waiting.pop() {
        if !go_on() {
            return None;
        }
        let name = if path.is_empty() { "." } else { &path };
        let Ok(dir) = open(root, name, OFlags::DIRECTORY) else {
            walked.unread.push(path);
            continue;
        };
        let Some(entries) = entries(dir.as_fd()) else {
            walked.unread.push(path);
            continue;
        };
        let names: Vec<&str> = entries.iter().map(|(name, _)| name.as_str()).collect();
        let ignored = Ignored::enter(above, dir.as_fd(), &path, &names);
        for (name, kind) in &entries {
            if name.starts_with('.') {
                continue;
            }
            let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if *kind == FileType::Directory {
                if depth < MAX_DEPTH && !ignored.hides(&below, true) {
                    waiting.push((below, depth + 1, Arc::clone(&ignored)));
                }
                continue;
            }
            let Some(language) = Language::of(name) else { continue };
            if *kind != FileType::RegularFile || ignored.hides(&below, false) {
                continue;
            }
            let Ok(stat) = statat(&dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let is_fit = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
                && (1..=MAX_FILE_BYTES.cast_signed()).contains(&stat.st_size);
            if is_fit {
                walked.files.push(Found {
                    path: below,
                    size: stat.st_size,
                    mtime_ns: mtime_ns(&stat),
                    language,
                });
            }
        }
        if walked.files.len() > MAX_FILES {
            walked.too_many = true;
            break;
        }
    }
    walked.files.truncate(MAX_FILES);
    walked.files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Some(walked)
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
            let walked = walk(File::open(folder.path()).unwrap().as_fd(), &|| true).unwrap();
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
        let walked = walk(root.as_fd(), &|| true).unwrap();
        assert_eq!(walked.files.len(), 1);
        for path in ["link.rs", "etc/hostname", "../etc/hostname", "/etc/hostname", "pipe.rs", "real.rs/x"] {
            assert!(super::super::read(root.as_fd(), path, 100).is_err(), "{path}");
        }
        assert_eq!(super::super::read(root.as_fd(), "real.rs", 100).unwrap().bytes, b"fn a() {}");
    }
}
