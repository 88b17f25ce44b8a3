//! As much of the ELF format as it takes to tell a program from a script and to find its loader.

use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Longest path of a loader in bytes (`PATH_MAX`).
const MAX_PATH: u64 = 4096;
/// Program header type of the loader's path.
const PT_INTERP: u32 = 3;

/// Whether the file is an ELF program or library.
///
/// # Errors
///
/// The error of opening or reading it.
pub fn is_elf(path: &Path) -> io::Result<bool> {
    Ok(read(&std::fs::File::open(path)?, 0, 4)?.as_deref() == Some(b"\x7fELF"))
}

/// The loader that a dynamic 64-bit little-endian program names; `None` for a static one, a script, or anything else.
pub(crate) fn interpreter(path: &Path) -> io::Result<Option<PathBuf>> {
    let file = std::fs::File::open(path)?;
    let Some(header) = read(&file, 0, 64)? else { return Ok(None) };
    if header[..6] != *b"\x7fELF\x02\x01" {
        return Ok(None);
    }
    let table = number(&header, 32, 8);
    let (size, count) = (number(&header, 54, 2), number(&header, 56, 2));
    for index in 0..count {
        let Some(entry) = read(&file, table.saturating_add(index * size), 56)? else { return Ok(None) };
        if number(&entry, 0, 4) != u64::from(PT_INTERP) {
            continue;
        }
        let (offset, length) = (number(&entry, 8, 8), number(&entry, 32, 8));
        if length > MAX_PATH {
            return Ok(None);
        }
        let Some(mut path) = read(&file, offset, length)? else { return Ok(None) };
        path.truncate(path.iter().position(|&byte| byte == 0).unwrap_or(path.len()));
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        return Ok(path.is_absolute().then_some(path));
    }
    Ok(None)
}

/// A little-endian number of up to eight bytes; callers stay within the buffer.
fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// `None` when the file ends before.
fn read(file: &std::fs::File, offset: u64, len: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_names_its_loader_and_a_script_does_not() {
        let loader = interpreter(&std::env::current_exe().unwrap()).unwrap().unwrap();
        assert!(loader.is_absolute() && loader.exists(), "{loader:?}");
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert!(interpreter(&script).unwrap().is_none());
        assert!(!is_elf(&script).unwrap());
        assert!(is_elf(&std::env::current_exe().unwrap()).unwrap());
    }

    #[test]
    fn cut_and_hostile_headers_give_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("odd");
        let whole = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        for len in [0, 3, 5, 63, 64, 100] {
            std::fs::write(&path, &whole[..len]).unwrap();
            assert!(interpreter(&path).unwrap().is_none(), "{len}");
        }
        let mut wild = whole[..4096].to_vec();
        wild[32..40].fill(0xff);
        std::fs::write(&path, &wild).unwrap();
        assert!(interpreter(&path).unwrap_or_default().is_none());
    }
}
