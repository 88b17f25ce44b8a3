//! `read_more`: the rest of a result that was too long.

use std::sync::Arc;

use llmc_core::Envelope;
use serde::Deserialize;
use serde_json::{Value, json};

use super::shelf::{Part, Shelf};
use super::{CallError, Kind};

const DEFAULT_BYTES: usize = 64 << 10;
const MIN_BYTES: usize = 1 << 10;
const MAX_BYTES: usize = 1 << 20;

#[derive(Deserialize)]
pub(super) struct ReadMore {
    handle: String,
    offset: Option<u64>,
    max_bytes: Option<usize>,
}

pub(super) const DESCRIPTION: &str = "Reads the whole of an output that a result could not hold, by the `handle` in that result. Handles expire.";

pub(super) fn properties() -> Value {
    json!({
        "handle": {"type": "string", "maxLength": 64},
        "offset": {"type": "integer", "minimum": 0, "default": 0, "description": "Byte to begin at."},
        "max_bytes": {"type": "integer", "minimum": MIN_BYTES, "maximum": MAX_BYTES, "default": DEFAULT_BYTES},
    })
}

pub(super) fn result() -> Value {
    let number = json!({"type": "integer"});
    json!({"text": {"type": "string"}, "offset": number, "next_offset": number, "total_bytes": number})
}

impl ReadMore {
    pub(super) async fn answer(self, shelf: &Shelf, owner: &Arc<str>) -> Result<Envelope, CallError> {
        let (offset, max_bytes) = (self.offset.unwrap_or(0), self.max_bytes.unwrap_or(DEFAULT_BYTES));
        let part = match shelf.waits() {
            false => shelf.read(owner, &self.handle, offset, max_bytes),
            true => {
                let (shelf, owner) = (shelf.clone(), Arc::clone(owner));
                let read = move || shelf.read(&owner, &self.handle, offset, max_bytes);
                tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other).flatten()
            }
        };
        let part = part.map_err(|error| {
            CallError::new(Kind::ToolFailed, format!("the kept output cannot be read: {error}"))
        })?;
        let Part { text, offset, total } = part.ok_or_else(|| {
            let message = "there is no kept output of this handle, or no longer (`limits.kept_ms`, \
                           `limits.kept_bytes`); run the command again";
            CallError::new(Kind::InvalidArguments, message.to_owned())
        })?;
        let next = offset + text.len() as u64;
        let (mut structured, mut shown) =
            (json!({"text": text, "offset": offset, "total_bytes": total}), text);
        if next < total {
            structured["next_offset"] = next.into();
            shown += &format!("\n[{} bytes more: offset {next}]", total - next);
        }
        Ok(Envelope { structured: Some(structured), ..Envelope::text(shown) })
    }
}
