//! From the bytes of a file to its text and back.

use llmc_core::{ToolError, ToolResult};

use crate::text::Encoding;

/// A text and how it is written.
pub(super) struct Document {
    pub(super) encoding: Encoding,
    /// Without a byte order mark.
    pub(super) text: String,
}

impl Document {
    /// Reads a text; what is none, or only in part, is refused, as it could not be written back.
    pub(super) fn read(mut bytes: Vec<u8>) -> ToolResult<Self> {
        let refused = |what: &str| {
            ToolError::failed(format!(
                "{what}, which cannot be edited as text; `write_file` can replace it as a whole"
            ))
        };
        let encoding = Encoding::detect(&bytes);
        if encoding.is_binary(&bytes) {
            return Err(refused("the file is binary"));
        }
        bytes.drain(..mark(encoding).len());
        match encoding.decode(bytes) {
            (text, false) => Ok(Self { encoding, text }),
            (_, true) => Err(refused(&format!("the file has bytes that are not {}", encoding.name()))),
        }
    }
}

/// Writes a text with its byte order mark.
pub(crate) fn encode(encoding: Encoding, text: &str) -> Vec<u8> {
    let mut bytes = mark(encoding).to_vec();
    match encoding {
        Encoding::Utf8 | Encoding::Utf8Bom => bytes.extend_from_slice(text.as_bytes()),
        Encoding::Utf16Le => bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes)),
        Encoding::Utf16Be => bytes.extend(text.encode_utf16().flat_map(u16::to_be_bytes)),
    }
    bytes
}

fn mark(encoding: Encoding) -> &'static [u8] {
    match encoding {
        Encoding::Utf8 => b"",
        Encoding::Utf8Bom => b"\xEF\xBB\xBF",
        Encoding::Utf16Le => b"\xFF\xFE",
        Encoding::Utf16Be => b"\xFE\xFF",
    }
}
