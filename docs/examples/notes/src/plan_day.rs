//! `plan_day`: a text that a person puts into a conversation by name.

use llmc_core::prelude::*;

/// Plans a day from the notes.
#[arguments]
pub struct PlanDay {
    /// The day, such as "Monday".
    day: String,
}

impl Prompt for PlanDay {
    const NAME: &'static str = "plan_day";

    fn get(self, _ctx: &Context) -> ToolResult<Messages> {
        Ok(Messages::user(format!("Read my notes with `find_notes` and plan {}.", self.day)))
    }
}
