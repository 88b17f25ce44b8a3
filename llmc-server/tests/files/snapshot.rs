//! Everything below a directory, exactly: whoever changes or reads one file of it is found out.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, read_link, symlink_metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Timespec, Timestamps, open, utimensat};
use rustix::io::Errno;

/// Times in the past: a first read since then moves the time of access, on all file systems that keep it at all.
const READ: Timespec = Timespec { tv_sec: 946_684_800, tv_nsec: 0 };
const WRITTEN: Timespec = Timespec { tv_sec: 978_307_200, tv_nsec: 0 };

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    mode: u32,
    owner: (u32, u32),
    inode: u64,
    links: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    /// Not of links, which are read here too.
    accessed: Option<(i64, i64)>,
    /// Contents of a file, or the text of a link.
    pub(crate) contents: Vec<u8>,
}

impl Facts {
    fn of(path: &Path, about: &Metadata) -> Self {
        let accessed = (!about.is_symlink()).then(|| (about.atime(), about.atime_nsec()));
        let contents = if about.is_symlink() {
            read_link(path).unwrap().as_os_str().as_bytes().to_vec()
        } else if about.is_file() {
            read_unseen(path)
        } else {
            Vec::new()
        };
        Self {
            mode: about.mode(),
            owner: (about.uid(), about.gid()),
            inode: about.ino(),
            links: about.nlink(),
            size: about.size(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
            accessed,
            contents,
        }
    }
}

/// By path from the top.
pub(crate) type Snapshot = BTreeMap<PathBuf, Facts>;

/// Looks at a directory and everything below it, but for what lies below these, and leaves no trace.
pub(crate) fn take(top: &Path, except: &[PathBuf]) -> Snapshot {
    let mut all = Snapshot::new();
    walk(top, except, &mut |path, about| {
        let name = path.strip_prefix(top).unwrap().to_owned();
        all.insert(name, Facts::of(path, about));
    });
    all
}

/// Makes everything look as if nobody had read it for years; but not a configuration: a server that sees it changed
/// reads it.
pub(crate) fn age(top: &Path, except: &[PathBuf]) {
    walk(top, except, &mut |path, _| {
        if path.file_name().is_some_and(|name| name == "llmc.toml") {
            return;
        }
        let times = Timestamps { last_access: READ, last_modification: WRITTEN };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    });
}

/// Differences, a line each.
pub(crate) fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for (path, facts) in before {
        match after.get(path) {
            None => lines.push(format!("{} is gone", path.display())),
            Some(now) if now != facts => {
                lines.push(format!("{}: {facts:?} became {now:?}", path.display()));
            }
            Some(_) => {}
        }
    }
    let new = after.keys().filter(|path| !before.contains_key(*path));
    lines.extend(new.map(|path| format!("{} is new", path.display())));
    lines
}

/// Visits a directory after what is in it; links are not followed.
pub(crate) fn walk(top: &Path, except: &[PathBuf], visit: &mut dyn FnMut(&Path, &Metadata)) {
    if except.iter().any(|path| path == top) {
        return;
    }
    // What others remove meanwhile is none of ours.
    let Ok(about) = symlink_metadata(top) else { return };
    if about.is_dir() {
        for name in names(top) {
            walk(&top.join(name), except, visit);
        }
    }
    visit(top, &about);
}

fn names(dir: &Path) -> Vec<std::ffi::OsString> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME | OFlags::CLOEXEC;
    let dir = Dir::new(open(dir, flags, Mode::empty()).unwrap()).unwrap();
    let names = dir.map(|entry| entry.unwrap().file_name().to_bytes().to_vec());
    let names = names.filter(|name| name != b"." && name != b"..");
    names.map(|name| std::ffi::OsStr::from_bytes(&name).to_owned()).collect()
}

/// Reads a file without moving its time of access; one that may not be read is empty.
pub(crate) fn read_unseen(path: &Path) -> Vec<u8> {
    let flags = OFlags::RDONLY | OFlags::NOATIME | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut bytes = Vec::new();
    match open(path, flags, Mode::empty()) {
        Ok(file) => drop(File::from(file).read_to_end(&mut bytes).unwrap()),
        Err(Errno::ACCESS | Errno::NOENT | Errno::LOOP) => {}
        Err(errno) => panic!("{}: {errno}", path.display()),
    }
    bytes
}
