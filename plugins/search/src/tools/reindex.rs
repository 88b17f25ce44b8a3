//! `reindex`.

use llmc_core::prelude::*;

use super::index_status::{Status, status};
use crate::index;

/// Brings the index up to date and waits for that; rarely needed, searches do so themselves.
#[arguments]
pub struct Reindex {
    /// Build it from scratch.
    #[serde(default)]
    full: bool,
}

impl Tool for Reindex {
    const NAME: &'static str = "reindex";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Status;

    fn call(self, ctx: &Context) -> ToolResult<Status> {
        let index = index::of(ctx)?;
        if self.full {
            // A round under way would end with what is to be thrown away.
            index.rest(ctx.remaining() / 2, &|_| !ctx.cancelled());
            index.forget();
        }
        let freshness = index.refresh(ctx.remaining().mul_f32(0.9), &|status| {
            ctx.progress(status.done as f64, (status.total > 0).then_some(status.total as f64), "indexing");
            !ctx.cancelled()
        });
        ctx.check()?;
        Ok(status(&index, &freshness))
    }
}
