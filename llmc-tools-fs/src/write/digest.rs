//! SHA-256 of contents.

use std::os::fd::AsFd;

use llmc_core::{Context, ToolError, ToolResult};
use rustix::io::{Errno, pread};
use sha2::{Digest as _, Sha256};

/// One step through a file, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// The hash of what was seen so far.
#[derive(Clone, Default)]
pub(crate) struct Digest(Sha256);

impl Digest {
    /// Of bytes in memory.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut digest = Self::default();
        digest.add(bytes);
        digest
    }

    /// Of a file, from its start to its end.
    pub(crate) fn of_file(file: impl AsFd, ctx: &Context) -> ToolResult<Self> {
        let (mut digest, mut offset, mut chunk) = (Self::default(), 0, vec![0; CHUNK_BYTES]);
        loop {
            ctx.check()?;
            match pread(&file, chunk.as_mut_slice(), offset) {
                Ok(0) => return Ok(digest),
                Ok(count) => {
                    digest.add(&chunk[..count]);
                    offset += count as u64;
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(std::io::Error::from(errno).into()),
            }
        }
    }

    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// As lowercase hexadecimal digits.
    pub(crate) fn hex(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The hash that contents must have to be changed.
#[derive(Debug)]
pub(crate) struct Expected(String);

impl Expected {
    /// Reads `expected_sha256`.
    pub(crate) fn parse(text: Option<&str>) -> ToolResult<Option<Self>> {
        let Some(text) = text else { return Ok(None) };
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ToolError::invalid("`expected_sha256` takes 64 hexadecimal digits"));
        }
        Ok(Some(Self(text.to_ascii_lowercase())))
    }

    pub(crate) fn check(&self, actual: &str) -> ToolResult<()> {
        if self.0 == actual {
            return Ok(());
        }
        Err(ToolError::failed(format!(
            "its contents are not the expected ones, nothing was changed; read it again (its SHA-256 is {actual}, not {})",
            self.0
        )))
    }

    /// The error when there is no file.
    pub(crate) fn missing(&self) -> ToolError {
        ToolError::failed(
            "there is no such file, but `expected_sha256` says there is; leave that out to create it",
        )
    }
}
