//! Notes in a granted directory: the plugin of the tutorial.
#![forbid(unsafe_code)]

mod add_note;
mod count_words;
mod delete_note;
mod find_notes;
mod folder;
mod note;
mod plan_day;

use llmc_core::prelude::*;

pub use add_note::AddNote;
pub use count_words::CountWords;
pub use delete_note::DeleteNote;
pub use find_notes::FindNotes;
pub use note::Note;
pub use plan_day::PlanDay;

/// The plugin's own configuration.
#[arguments]
pub struct Settings {
    /// Ending of the files that are notes. Default: "md".
    #[serde(default = "markdown")]
    ending: String,
}

fn markdown() -> String {
    "md".to_owned()
}

export_plugin!("notes": CountWords, FindNotes, AddNote, DeleteNote;
    prompts = [PlanDay];
    resources = [Note];
    grants = [roots: "holds the notes", tools: "searches the notes"];
    config = Settings);
