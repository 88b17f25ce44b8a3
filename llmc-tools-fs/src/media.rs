//! What the first bytes of a file say about it.

use Meaning::{Binary, Hint, Image};

/// Bytes that are needed to know a type.
pub(crate) const HEAD_BYTES: usize = 16;

/// A type of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Media {
    /// What it is, for people.
    pub(crate) name: &'static str,
    /// What follows from that.
    pub(crate) meaning: Meaning,
}

/// What follows from a known beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// An image of this media type, which clients can show.
    Image(&'static str),
    /// Never text.
    Binary,
    /// A text could begin like this too: names data that is binary by other signs.
    Hint,
}

/// Places and bytes, all of which must fit; then what it means. The first entry that fits counts.
type Signature = (&'static [(usize, &'static [u8])], &'static str, Meaning);

const SIGNATURES: &[Signature] = &[
    (&[(0, b"\x89PNG\r\n\x1A\n")], "a PNG image", Image("image/png")),
    (&[(0, b"\xFF\xD8\xFF")], "a JPEG image", Image("image/jpeg")),
    (&[(0, b"GIF87a")], "a GIF image", Image("image/gif")),
    (&[(0, b"GIF89a")], "a GIF image", Image("image/gif")),
    (&[(0, b"RIFF"), (8, b"WEBP")], "a WebP image", Image("image/webp")),
    (&[(0, b"RIFF"), (8, b"WAVE")], "WAV audio", Binary),
    (&[(0, b"RIFF"), (8, b"AVI ")], "an AVI video", Binary),
    (&[(0, b"II*\0")], "a TIFF image", Binary),
    (&[(0, b"MM\0*")], "a TIFF image", Binary),
    (&[(4, b"ftypavif")], "an AVIF image", Binary),
    (&[(4, b"ftypheic")], "an HEIC image", Binary),
    (&[(4, b"ftyp")], "an MP4 video", Binary),
    (&[(0, b"\x1A\x45\xDF\xA3")], "a Matroska or WebM video", Binary),
    (&[(0, b"OggS\0")], "Ogg audio", Binary),
    (&[(0, b"fLaC\0")], "FLAC audio", Binary),
    (&[(0, b"%PDF-")], "a PDF document", Binary),
    (&[(0, b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1")], "an old Microsoft Office document", Binary),
    (&[(0, b"PK\x03\x04")], "a ZIP archive, or a document or package made of one", Binary),
    (&[(0, b"PK\x05\x06")], "an empty ZIP archive", Binary),
    (&[(0, b"\x1F\x8B")], "gzip data", Binary),
    (&[(0, b"\x28\xB5\x2F\xFD")], "Zstandard data", Binary),
    (&[(0, b"\xFD7zXZ\0")], "XZ data", Binary),
    (&[(0, b"7z\xBC\xAF\x27\x1C")], "a 7z archive", Binary),
    (&[(0, b"Rar!\x1A\x07")], "a RAR archive", Binary),
    (&[(0, b"BZh"), (4, b"1AY&SY")], "bzip2 data", Binary),
    (&[(0, b"!<arch>\n")], "an ar archive or static library", Hint),
    (&[(0, b"\x7FELF")], "an ELF program or library", Binary),
    (&[(0, b"\0asm")], "a WebAssembly module", Binary),
    (&[(0, b"\xCA\xFE\xBA\xBE")], "a Java class or Mach-O file", Binary),
    (&[(0, b"\xCF\xFA\xED\xFE")], "a Mach-O program", Binary),
    (&[(0, b"SQLite format 3\0")], "an SQLite database", Binary),
    (&[(0, b"wOFF")], "a web font", Hint),
    (&[(0, b"wOF2")], "a web font", Hint),
    (&[(0, b"\0\x01\0\0\0")], "a TrueType font", Binary),
    (&[(0, b"OTTO\0")], "an OpenType font", Binary),
    (&[(0, b"ID3")], "MP3 audio", Hint),
    (&[(0, b"MZ")], "a Windows program", Hint),
    (&[(0, b"BM")], "a BMP image", Hint),
    (&[(0, b"\0\0\x01\0")], "an icon", Binary),
    (&[(0, b"\xFF\xFE\0\0")], "UTF-32 text", Binary),
    (&[(0, b"\0\0\xFE\xFF")], "UTF-32 text", Binary),
];

/// Finds the type of a file by its beginning.
pub(crate) fn detect(head: &[u8]) -> Option<Media> {
    let fits =
        |(place, bytes): &(usize, &[u8])| head.get(*place..).is_some_and(|rest| rest.starts_with(bytes));
    let (_, name, meaning) = SIGNATURES.iter().find(|(parts, ..)| parts.iter().all(fits))?;
    Some(Media { name, meaning: *meaning })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signature_is_found_and_none_hides_another() {
        for (parts, name, meaning) in SIGNATURES {
            let mut head = [0xEE; HEAD_BYTES];
            for (place, bytes) in *parts {
                head[*place..place + bytes.len()].copy_from_slice(bytes);
            }
            assert_eq!(detect(&head), Some(Media { name, meaning: *meaning }));
        }
    }

    #[test]
    fn text_has_no_type() {
        for text in ["", "#!/bin/sh\n", "<svg xmlns=", "{\"a\":1}", "PNG", "RIFF and WEBP", "\u{FEFF}abc"] {
            assert_eq!(detect(text.as_bytes()), None, "{text}");
        }
    }
}
