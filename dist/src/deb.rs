//! A Debian package: an `ar` of three members, as deb(5) says. It has no maintainer scripts, so nothing runs when it is
//! installed.

use std::io::Write;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use md5::{Digest, Md5};

use crate::tree::Tree;
use crate::{Order, archive, read, sums};

/// Files of `packaging` and where they are installed.
const PLACES: &[(&str, &str)] = &[
    ("debian/config.toml", "etc/llmc/config.toml"),
    ("debian/copyright", "usr/share/doc/llmc/copyright"),
    ("debian/sysusers.conf", "usr/lib/sysusers.d/llmc.conf"),
    ("systemd/llmc.service", "usr/lib/systemd/system/llmc.service"),
    ("systemd/llmc.socket", "usr/lib/systemd/system/llmc.socket"),
];

/// What lies here the administrator may change; dpkg keeps it.
const CONFIGURATION: &str = "etc/";

/// Writes the package: the tree below `/usr`, and what only a system-wide installation has.
///
/// # Errors
///
/// When a file cannot be read or `out` cannot be written.
pub fn write(tree: &Tree, order: &Order, mut out: impl Write) -> Result<()> {
    let data = data(tree, order)?;
    let mut data_bytes = Vec::new();
    archive::write(&data, order.epoch, order.level, &mut data_bytes)?;
    let mut control_bytes = Vec::new();
    archive::write(&control(&data, order)?, order.epoch, order.level, &mut control_bytes)?;

    out.write_all(b"!<arch>\n")?;
    for (name, bytes) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar.gz", &control_bytes),
        ("data.tar.gz", &data_bytes),
    ] {
        out.write_all(&member(name, order.epoch, bytes.len()))?;
        out.write_all(bytes)?;
        if bytes.len() % 2 == 1 {
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// The header of a member, 60 bytes.
fn member(name: &str, epoch: u64, size: usize) -> Vec<u8> {
    format!("{name:<16}{epoch:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, "100644").into_bytes()
}

fn data(tree: &Tree, order: &Order) -> Result<Tree> {
    let mut data = tree.below("usr");
    for (from, to) in PLACES {
        data.put_bytes(*to, read(&order.sources.join("packaging").join(from))?.into_bytes());
    }
    let changes = read(&order.sources.join("CHANGELOG.md"))?;
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::new(order.level));
    gzip.write_all(changes.as_bytes())?;
    data.put_bytes("usr/share/doc/llmc/changelog.gz", gzip.finish()?);
    Ok(data)
}

fn control(data: &Tree, order: &Order) -> Result<Tree> {
    let mut bytes = 0;
    let mut digests = String::new();
    let mut configuration = String::new();
    let mut glibc = 0;
    for (path, entry) in data.files() {
        let content = entry.bytes()?;
        bytes += content.len();
        if path.starts_with(CONFIGURATION) {
            configuration.push_str(&format!("/{path}\n"));
        } else {
            digests.push_str(&format!("{}  {path}\n", sums::hex(&Md5::digest(&*content))));
        }
        glibc = glibc.max(wanted_glibc(&content));
    }
    let text = read(&order.sources.join("packaging/debian/control"))?;
    let text = text
        .replace("@VERSION@", &order.version)
        .replace("@KIB@", &bytes.div_ceil(1024).to_string())
        .replace("@GLIBC@", &format!("2.{glibc}"));
    let mut control = Tree::default();
    control.put_bytes("control", text.into_bytes());
    control.put_bytes("conffiles", configuration.into_bytes());
    control.put_bytes("md5sums", digests.into_bytes());
    Ok(control)
}

/// The newest minor version of glibc whose symbols a program or library names; 0 for other files.
fn wanted_glibc(content: &[u8]) -> u32 {
    const MARK: &[u8] = b"GLIBC_2.";
    if !content.starts_with(b"\x7fELF") {
        return 0;
    }
    let minor = |at: usize| {
        let rest = &content[at + MARK.len()..];
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        // Whole names only: programs also hold the name in sentences.
        let ends = rest.get(digits) == Some(&0);
        std::str::from_utf8(&rest[..digits]).ok().filter(|_| ends)?.parse::<u32>().ok()
    };
    memchr::memmem::find_iter(content, MARK).filter_map(minor).max().unwrap_or(0)
}

/// The fields of a control file.
///
/// # Errors
///
/// When it does not name the field.
pub fn field<'a>(control: &'a str, name: &str) -> Result<&'a str> {
    let value = control.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.with_context(|| format!("the control file has no `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_member_has_60_bytes() {
        let header = member("control.tar.gz", 1_700_000_000, 1234);
        assert_eq!(header.len(), 60);
        assert!(
            header.ends_with(b"`\n")
                && header.starts_with(b"control.tar.gz  1700000000  0     0     100644  1234")
        );
    }

    #[test]
    fn the_newest_wanted_glibc_is_found_in_programs_alone() {
        let program = b"\x7fELF..GLIBC_2.2.5\0GLIBC_2.17\0GLIBC_2.34\0 needs GLIBC_2.99 or so";
        assert_eq!(wanted_glibc(program), 34);
        assert_eq!(wanted_glibc(b"GLIBC_2.34\0"), 0);
    }
}
