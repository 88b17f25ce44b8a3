//! The texts that an answer is made of, read from the files themselves.

use std::collections::HashMap;
use std::rc::Rc;

use llmc_core::Root;

use crate::files;
use crate::store::ChunkRow;

/// A file as it is now.
#[derive(Debug)]
pub(crate) struct Text {
    text: String,
    /// Where each line begins, and the end.
    starts: Vec<usize>,
}

impl Text {
    pub(crate) fn new(text: String) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1);
        let mut starts: Vec<usize> = std::iter::once(0).chain(ends).collect();
        if starts.last() != Some(&text.len()) {
            starts.push(text.len());
        }
        Self { text, starts }
    }

    /// Lines from one number to another with what is between them, as far as there are such.
    pub(crate) fn part(&self, first: u32, last: u32) -> &str {
        let first = (first.max(1) as usize - 1).min(self.starts.len() - 1);
        let last = (last as usize).clamp(first, self.starts.len() - 1);
        &self.text[self.starts[first]..self.starts[last]]
    }

    /// Lines from one number to another, as far as there are such.
    pub(crate) fn lines(&self, first: u32, last: u32) -> Vec<&str> {
        self.part(first, last).lines().collect()
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).unwrap_or(u32::MAX)
    }
}

/// Files that were read during a call, each once.
pub(crate) struct Texts<'a> {
    roots: &'a [Root],
    read: HashMap<(String, String), Option<Rc<Text>>>,
}

impl<'a> Texts<'a> {
    pub(crate) fn new(roots: &'a [Root]) -> Self {
        Self { roots, read: HashMap::new() }
    }

    /// The file of a path that the database tells, opened below its root like any other.
    pub(crate) fn of(&mut self, root: &str, path: &str) -> Option<Rc<Text>> {
        let key = (root.to_owned(), path.to_owned());
        let roots = self.roots;
        let read = self.read.entry(key).or_insert_with(|| {
            let root = roots.iter().find(|known| known.name == root)?;
            let text = files::read_text(root.dir, path).ok().flatten()?;
            Some(Rc::new(Text::new(text)))
        });
        read.clone()
    }

    /// The lines of a chunk, if its file is still there.
    pub(crate) fn chunk(&mut self, row: &ChunkRow) -> Option<Rc<Text>> {
        self.of(&row.root, &row.path).filter(|text| text.count() >= row.first_line)
    }
}
