//! `read_files`.

use llmc_core::prelude::*;
use llmc_core::schema;

use crate::limits::{DEFAULT_READ_BYTES, MAX_READ_BYTES, MAX_READ_FILES, MIN_READ_BYTES};
use crate::media::{self, HEAD_BYTES, Meaning, Media};
use crate::path::{PathError, Place, in_line};
use crate::read_file::{Contents, text_of};
use crate::root;
use crate::window::{Source, Start, Wanted};

/// Reads several text files from their start. Each has its own text or error.
#[arguments(undocumented)]
pub struct ReadFiles {
    #[schemars(length(min = 1, max = MAX_READ_FILES))]
    paths: Vec<String>,
    /// Of each file; of all it is 1048576. Default: 65536.
    #[schemars(range(min = MIN_READ_BYTES, max = MAX_READ_BYTES))]
    max_bytes: Option<u32>,
}

/// What was read.
#[output]
struct Files {
    /// In the order that was asked for.
    files: Vec<OneFile>,
}

/// A file, or why it could not be read.
#[output]
#[derive(Default)]
struct OneFile {
    /// The file, in a form that can be asked for again; as it was asked for if there is an error.
    path: String,
    /// Its text, or the beginning of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Size of the whole file.
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
    /// Where `read_file` goes on if the text is cut; at a line if it was cut at the end of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_start_line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset_bytes: Option<u64>,
}

impl Tool for ReadFiles {
    const NAME: &'static str = "read_files";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Envelope;

    fn call(self, ctx: &Context) -> ToolResult<Envelope> {
        if !(1..=MAX_READ_FILES).contains(&self.paths.len()) {
            return Err(ToolError::invalid(format!("`paths` takes 1 to {MAX_READ_FILES} paths")));
        }
        let roots = ctx.roots()?;
        // Of the whole call, so that the server tells how to grant one.
        if roots.is_empty() {
            return Err(PathError::NoRoots.into());
        }
        let max_bytes = self.max_bytes.unwrap_or(DEFAULT_READ_BYTES).clamp(MIN_READ_BYTES, MAX_READ_BYTES);
        let mut left = MAX_READ_BYTES;
        let (mut files, mut blocks) = (Vec::new(), Vec::new());
        for path in self.paths {
            ctx.check()?;
            let read = read(&path, roots, max_bytes.min(left), ctx).map(|(contents, text)| {
                left = left.saturating_sub(u32::try_from(contents.read_bytes()).unwrap_or(left));
                (contents, text)
            });
            let (file, block) = shown(path, read);
            files.push(file);
            blocks.push(Content::text(block));
        }
        let structured = llmc_core::serde_json::to_value(Files { files })?;
        Ok(Envelope { structured: Some(structured), content: blocks, ..Envelope::default() })
    }

    fn output_schema() -> Option<Value> {
        Some(schema::of_output::<Files>().schema)
    }
}

fn read(path: &str, roots: &[Root], max_bytes: u32, ctx: &Context) -> ToolResult<(Contents, String)> {
    if max_bytes < MIN_READ_BYTES {
        return Err(ToolError::failed(format!(
            "the {MAX_READ_BYTES} bytes of one call are used up; ask for it in another"
        )));
    }
    let place = Place::parse(path, roots)?;
    let (file, size) = root::open_file(&place)?;
    let source = Source::new(&file, size, max_bytes.max(HEAD_BYTES as u32), ctx)?;
    if let Some(Media { name, meaning: Meaning::Image(_) }) = media::detect(source.head(HEAD_BYTES)) {
        let path = place.display();
        return Err(ToolError::failed(format!("`{path}` is {name}; `read_file` returns it")));
    }
    text_of(
        &source,
        Contents::new(&place, source.size()),
        Wanted { start: Start::Line(1), max_lines: None, max_bytes },
    )
}

/// The result of a file, and its block of text. The heading tells the size, so that no line in the file can pass for
/// the heading of another.
fn shown(path: String, read: ToolResult<(Contents, String)>) -> (OneFile, String) {
    match read {
        Ok((contents, text)) => {
            let Contents { size_bytes, next_start_line, next_offset_bytes, .. } = contents;
            let note = contents.note().map(|note| format!("\n{note}")).unwrap_or_default();
            let block = format!("==> {} ({size_bytes} bytes) <==\n{text}{note}", in_line(&contents.path));
            let (text, size_bytes) = (Some(text), Some(size_bytes));
            let path = contents.path;
            (OneFile { path, text, error: None, size_bytes, next_start_line, next_offset_bytes }, block)
        }
        Err(error) => {
            let block = format!("==> {} <==\n[{error}]", in_line(&path));
            (OneFile { path, error: Some(error.message().to_owned()), ..OneFile::default() }, block)
        }
    }
}

#[cfg(test)]
#[path = "read_files_tests.rs"]
mod tests;
