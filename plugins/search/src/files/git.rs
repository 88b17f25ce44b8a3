//! The commit that a root is at.

use std::os::fd::BorrowedFd;

use super::open::read;

/// Longest file of git that is read here, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// The commit of `HEAD`, if the root is the top of a repository.
pub(crate) fn head_commit(root: BorrowedFd<'_>) -> Option<String> {
    let text = |path: &str| String::from_utf8(read(root, path, MAX_BYTES).ok()?.bytes).ok();
    let head = text(".git/HEAD")?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return commit(head.trim()) };
    if name.split('/').any(|part| part.is_empty() || part == "..") {
        return None;
    }
    if let Some(own) = text(&format!(".git/{name}")) {
        return commit(own.trim());
    }
    let packed = text(".git/packed-refs")?;
    packed.lines().find_map(|line| commit(line.strip_suffix(name)?.trim_end()))
}

fn commit(text: &str) -> Option<String> {
    let is_commit = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn loose_packed_and_detached_heads_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let git = folder.path().join(".git");
        fs::create_dir_all(git.join("refs/heads")).unwrap();
        let head = || head_commit(File::open(folder.path()).unwrap().as_fd());
        assert_eq!(head(), None);
        let (one, two) = ("1".repeat(40), "2".repeat(40));
        fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(
            git.join("packed-refs"),
            format!("# pack-refs\n{two} refs/heads/other\n{one} refs/heads/main\n"),
        )
        .unwrap();
        assert_eq!(head(), Some(one.clone()));
        fs::write(git.join("refs/heads/main"), format!("{two}\n")).unwrap();
        assert_eq!(head(), Some(two));
        fs::write(git.join("HEAD"), format!("{one}\n")).unwrap();
        assert_eq!(head(), Some(one));
        for hostile in ["ref: ../../etc/passwd", "ref: /etc/passwd", "", "\0"] {
            fs::write(git.join("HEAD"), hostile).unwrap();
            assert_eq!(head(), None, "{hostile:?}");
        }
    }
}
