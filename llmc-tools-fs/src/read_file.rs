//! `read_file`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use llmc_core::prelude::*;
use llmc_core::schema;

use crate::limits::{DEFAULT_READ_BYTES, MAX_IMAGE_BYTES, MAX_READ_BYTES, MIN_READ_BYTES};
use crate::media::{self, HEAD_BYTES, Meaning, Media};
use crate::path::Place;
use crate::root;
use crate::text::Encoding;
use crate::window::{Source, Start, Wanted, Window};

/// Reads a text file, or an image as an image. A long file is cut at the end of a line; the answer tells how to read
/// on.
#[arguments(undocumented)]
pub struct ReadFile {
    path: String,
    /// First line, from 1.
    #[schemars(range(min = 1))]
    start_line: Option<u64>,
    /// Instead of `start_line`: number of lines at the end.
    #[schemars(range(min = 1))]
    tail_lines: Option<u32>,
    /// Instead of `start_line`: first byte, from 0.
    offset_bytes: Option<u64>,
    #[schemars(range(min = 1))]
    max_lines: Option<u32>,
    /// Default: 65536.
    #[schemars(range(min = MIN_READ_BYTES, max = MAX_READ_BYTES))]
    max_bytes: Option<u32>,
    /// `base64`: any bytes, by `offset_bytes` and `max_bytes`.
    #[serde(default)]
    encoding: Wish,
}

/// How bytes are returned; `auto`: as text or as an image. The variants have no doc comments, which would bloat the
/// schema.
#[arguments]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Wish {
    #[default]
    Auto,
    Base64,
}

/// A part of a file.
#[output]
#[derive(Default)]
pub(crate) struct Contents {
    /// The file, in a form that can be asked for again.
    pub(crate) path: String,
    /// Size of the whole file.
    pub(crate) size_bytes: u64,
    /// utf-8, utf-8-bom, utf-16le, utf-16be, base64 or image.
    encoding: &'static str,
    /// The text, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The bytes in base64, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    /// Media type of an image. In no schema: the image itself tells it too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    mime_type: Option<&'static str>,
    /// Whether some bytes are no text and became `U+FFFD`.
    lossy: bool,
    /// Place of the first byte returned.
    offset_bytes: u64,
    /// Place after the last byte returned.
    end_bytes: u64,
    /// Number of the first line returned, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_line: Option<u64>,
    /// Number of the last line returned, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_line: Option<u64>,
    /// Whether the file goes on after this, or, of `tail_lines`, not all lines fit.
    truncated: bool,
    /// `offset_bytes` to read on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_offset_bytes: Option<u64>,
    /// `start_line` to read on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_start_line: Option<u64>,
}

impl Tool for ReadFile {
    const NAME: &'static str = "read_file";
    const ANNOTATIONS: Annotations = Annotations::READ_ONLY;
    type Output = Envelope;

    fn call(self, ctx: &Context) -> ToolResult<Envelope> {
        let wanted = self.wanted()?;
        let place = Place::parse(&self.path, ctx.roots()?)?;
        let (file, size) = root::open_file(&place)?;
        let source = Source::new(&file, size, self.first_bytes(wanted), ctx)?;
        let contents = Contents::new(&place, source.size());
        if self.encoding == Wish::Base64 {
            return bytes_of(&source, contents, wanted);
        }
        let media = media::detect(source.head(HEAD_BYTES));
        if let Some(Media { name, meaning: Meaning::Image(mime_type) }) = media {
            return self.image(&source, contents, name, mime_type);
        }
        let (contents, text) = text_of(&source, contents, wanted)?;
        envelope(&contents, "text", text)
    }

    fn output_schema() -> Option<Value> {
        Some(schema::of_output::<Contents>().schema)
    }
}

impl ReadFile {
    fn wanted(&self) -> ToolResult<Wanted> {
        let starts = [self.start_line.is_some(), self.tail_lines.is_some(), self.offset_bytes.is_some()];
        if starts.iter().filter(|given| **given).count() > 1 {
            return Err(ToolError::invalid(
                "`start_line`, `tail_lines` and `offset_bytes` exclude each other",
            ));
        }
        if self.tail_lines.is_some() && self.max_lines.is_some() {
            return Err(ToolError::invalid(
                "`tail_lines` says how many lines already: leave out `max_lines`",
            ));
        }
        let by_lines = self.start_line.is_some() || self.tail_lines.is_some() || self.max_lines.is_some();
        if self.encoding == Wish::Base64 && by_lines {
            return Err(ToolError::invalid(
                "with `encoding` base64 there are no lines: use `offset_bytes` and `max_bytes`",
            ));
        }
        if self.start_line == Some(0) || self.tail_lines == Some(0) || self.max_lines == Some(0) {
            return Err(ToolError::invalid("lines count from 1"));
        }
        let start = match (self.offset_bytes, self.tail_lines) {
            (Some(offset), _) => Start::Byte(offset),
            (None, Some(lines)) => Start::Tail(lines),
            (None, None) => Start::Line(self.start_line.unwrap_or(1)),
        };
        let max_bytes = self.max_bytes.unwrap_or(DEFAULT_READ_BYTES).clamp(MIN_READ_BYTES, MAX_READ_BYTES);
        Ok(Wanted { start, max_lines: self.max_lines, max_bytes })
    }

    /// How much to read at first: the window, if it is at the beginning, else what tells the type.
    fn first_bytes(&self, wanted: Wanted) -> u32 {
        if wanted.start == Start::Line(1) && wanted.max_lines.is_none() {
            wanted.max_bytes
        } else {
            HEAD_BYTES as u32
        }
    }

    fn image(
        &self,
        source: &Source<'_>,
        mut contents: Contents,
        name: &str,
        mime_type: &'static str,
    ) -> ToolResult<Envelope> {
        let size = contents.size_bytes;
        let has_window =
            self.start_line.or(self.offset_bytes).is_some() || self.tail_lines.or(self.max_lines).is_some();
        if has_window || size > MAX_IMAGE_BYTES {
            let limit = format!("{name}; images are returned as a whole and up to {MAX_IMAGE_BYTES} bytes");
            return Err(not_text(&contents, &limit));
        }
        let bytes = source.read(0, u32::try_from(size).unwrap_or(u32::MAX))?;
        contents.encoding = "image";
        contents.mime_type = Some(mime_type);
        contents.end_bytes = size;
        let note = format!("{}: {name}, {size} bytes", contents.path);
        Ok(Envelope::structured(&contents, note)?.with(Content::image(&bytes, mime_type)))
    }
}

/// A window as base64.
fn bytes_of(source: &Source<'_>, mut contents: Contents, wanted: Wanted) -> ToolResult<Envelope> {
    let offset = if let Start::Byte(offset) = wanted.start { offset } else { 0 };
    if offset > contents.size_bytes {
        let size = contents.size_bytes;
        return Err(ToolError::invalid(format!("`offset_bytes` is {offset}, but the file has {size} bytes")));
    }
    let bytes = source.read(offset, wanted.max_bytes)?;
    contents.encoding = "base64";
    contents.offset_bytes = offset;
    contents.end_bytes = offset + bytes.len() as u64;
    contents.truncated = contents.end_bytes < contents.size_bytes;
    contents.next_offset_bytes = contents.truncated.then_some(contents.end_bytes);
    envelope(&contents, "data", STANDARD.encode(bytes))
}

/// Reads a window as text. What is no text is named in the error.
pub(crate) fn text_of(
    source: &Source<'_>,
    mut contents: Contents,
    wanted: Wanted,
) -> ToolResult<(Contents, String)> {
    let head = source.head(HEAD_BYTES);
    let (media, encoding) = (media::detect(head), Encoding::detect(head));
    let is_text = media.is_none_or(|media| media.meaning == Meaning::Hint);
    let window = if is_text { source.window(encoding, wanted)? } else { Window::default() };
    if !is_text || encoding.is_binary(&window.bytes) {
        let name = media.map_or("binary data of unknown type", |media| media.name);
        return Err(not_text(&contents, name));
    }
    let Window { bytes, offset, first_line, lines, more, ends_line, starts_late } = window;
    contents.encoding = encoding.name();
    contents.offset_bytes = offset;
    contents.end_bytes = offset + bytes.len() as u64;
    contents.first_line = first_line.filter(|_| lines > 0);
    contents.last_line = contents.first_line.map(|first| first + lines - 1);
    contents.truncated = more || starts_late;
    contents.next_offset_bytes = more.then_some(contents.end_bytes);
    contents.next_start_line = contents.last_line.filter(|_| more && ends_line).map(|last| last + 1);
    let (text, lossy) = encoding.decode(bytes);
    contents.lossy = lossy;
    Ok((contents, text))
}

/// The contents with `text` under that name, and as the text for the model, with no further copy of it.
fn envelope(contents: &Contents, name: &str, text: String) -> ToolResult<Envelope> {
    let mut envelope = Envelope::structured(contents, text.as_str())?;
    if let Some(Value::Object(fields)) = &mut envelope.structured {
        fields.insert(name.to_owned(), Value::String(text));
    }
    Ok(contents.note().into_iter().fold(envelope, |envelope, note| envelope.with(Content::text(note))))
}

fn not_text(contents: &Contents, name: &str) -> ToolError {
    let Contents { path, size_bytes, .. } = contents;
    ToolError::failed(format!(
        "cannot read `{path}` as text: it is {name} ({size_bytes} bytes); `read_file` with `encoding` \"base64\" \
         returns its bytes, `offset_bytes` and `max_bytes` a part of them"
    ))
}

impl Contents {
    /// Nothing of a file yet.
    pub(crate) fn new(place: &Place<'_>, size_bytes: u64) -> Self {
        Self { path: place.display(), size_bytes, ..Self::default() }
    }

    /// Number of bytes of the file that are here.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.end_bytes - self.offset_bytes
    }

    /// What the model should know beside the text; nothing when that is the whole file.
    pub(crate) fn note(&self) -> Option<String> {
        let is_whole =
            !self.truncated && self.end_bytes == self.size_bytes && self.first_line.unwrap_or(1) == 1;
        if is_whole && self.offset_bytes <= 3 && !self.lossy {
            return None;
        }
        let lines = match (self.first_line, self.last_line) {
            (Some(first), Some(last)) => format!("lines {first} to {last}, "),
            _ => String::new(),
        };
        let Self { offset_bytes, end_bytes, size_bytes, .. } = self;
        let mut note = format!("[{lines}bytes {offset_bytes} to {end_bytes} of {size_bytes}");
        match (self.next_start_line, self.next_offset_bytes) {
            (Some(line), _) => note.push_str(&format!("; read on with start_line {line}")),
            (None, Some(offset)) => note.push_str(&format!("; read on with offset_bytes {offset}")),
            (None, None) if self.truncated => note.push_str("; the lines before did not fit"),
            (None, None) => {}
        }
        if self.lossy {
            note.push_str("; some bytes are no text and were replaced");
        }
        Some(note + "]")
    }
}

#[cfg(test)]
#[path = "read_file_tests.rs"]
mod tests;
