//! A compressed tar of a tree that tells nothing of the machine it was made on: sorted, owned by root, of one time.

use std::io::Write;

use anyhow::Result;
use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::tree::Tree;

/// Writes all folders, then all files.
///
/// # Errors
///
/// When a file cannot be read or `out` cannot be written.
pub fn write(tree: &Tree, epoch: u64, level: u32, out: impl Write) -> Result<()> {
    // No name and no time in the header of gzip, and an unknown operating system.
    let gzip = GzBuilder::new().write(out, Compression::new(level));
    let mut tar = Builder::new(gzip);
    for folder in tree.folders() {
        let mut header = header(epoch, 0o755);
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        tar.append_data(&mut header, format!("./{folder}/"), std::io::empty())?;
    }
    for (path, entry) in tree.files() {
        let bytes = entry.bytes()?;
        let mut header = header(epoch, entry.mode());
        header.set_entry_type(EntryType::Regular);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, format!("./{path}"), &*bytes)?;
    }
    tar.into_inner()?.finish()?.flush()?;
    Ok(())
}

fn header(epoch: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_mtime(epoch);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    // Both names fit the 32 bytes that tar has for them.
    let _ = header.set_username("root").and_then(|()| header.set_groupname("root"));
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use tar::Archive;

    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.put_bytes("b/file", b"two".to_vec());
        tree.put_bytes(format!("a/{}", "long".repeat(40)), b"one".to_vec());
        tree
    }

    fn packed(tree: &Tree, epoch: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(tree, epoch, 6, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_same_files_give_the_same_bytes_and_another_time_does_not() {
        assert_eq!(packed(&tree(), 7), packed(&tree(), 7));
        assert_ne!(packed(&tree(), 7), packed(&tree(), 8));
    }

    #[test]
    fn what_comes_out_is_what_went_in() {
        let bytes = packed(&tree(), 7);
        let mut archive = Archive::new(GzDecoder::new(&*bytes));
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()), (0, 0, 7));
            assert_eq!(header.username().unwrap(), Some("root"));
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            seen.push((path, text));
        }
        let paths: Vec<_> = seen.iter().map(|(path, _)| path.trim_start_matches("./").len()).collect();
        assert_eq!(paths, [2, 2, 162, 6], "{seen:?}");
        assert_eq!(seen[2].1, "one");
        assert_eq!(seen[3].1, "two");
    }
}
