//! Others that are asked the same: `rg`, ranked as somebody would who counts matches, and tantivy's BM25.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{Field, STORED, Schema, TextFieldIndexing, TextOptions, Value as _};
use tantivy::tokenizer::{Language, LowerCaser, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer};
use tantivy::{Index, IndexReader, TantivyDocument, doc};

use crate::program::Program;

/// Files that are looked at.
const MAX_FILES: usize = 30;

/// Words that nobody would search for.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "at", "for", "from", "how", "in", "is", "its", "of", "on", "or", "out", "that",
    "the", "to", "what", "when", "where", "which", "with",
];

/// `rg`.
pub(super) struct Ripgrep(Program);

impl Ripgrep {
    pub(super) fn find() -> Option<Self> {
        Program::find(&["rg"]).map(Self)
    }

    /// Files by the number of different words in them, then by the number of matches.
    pub(super) fn files(&self, tree: &Path, question: &str) -> Result<Vec<String>> {
        let letters = |letter: char| !letter.is_alphanumeric() && letter != '_';
        let words = question.split(letters).filter(|word| word.len() > 1 && !STOP_WORDS.contains(word));
        let mut counts: HashMap<String, (usize, usize)> = HashMap::new();
        for word in words {
            let flags =
                ["--count-matches", "--ignore-case", "--fixed-strings", "-e", word, "."].map(OsString::from);
            let mut printed = Vec::new();
            self.0.run(&flags, tree, &mut printed)?;
            for line in String::from_utf8_lossy(&printed).lines() {
                let Some((path, count)) = line.rsplit_once(':') else { continue };
                let counted = counts.entry(path.trim_start_matches("./").to_owned()).or_default();
                counted.0 += 1;
                counted.1 += count.parse().unwrap_or(0);
            }
        }
        let mut files: Vec<(String, (usize, usize))> = counts.into_iter().collect();
        files.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        Ok(files.into_iter().map(|(path, _)| path).take(MAX_FILES).collect())
    }
}

impl Ripgrep {
    /// How long it takes to count a text in all files.
    pub(super) fn time(&self, tree: &Path, text: &str) -> Result<Duration> {
        let flags = ["--count-matches", "--fixed-strings", "-e", text, "."].map(OsString::from);
        self.0.run(&flags, tree, &mut Vec::new())
    }
}

/// An index in memory by tantivy: English stems, stop words left out, paths and texts.
pub(super) struct Tantivy {
    reader: IndexReader,
    parser: QueryParser,
    path: Field,
}

impl Tantivy {
    /// Indexes a tree: whole files, or windows of so many lines.
    pub(super) fn new(tree: &Path, window: Option<usize>) -> Result<Self> {
        let text = TextOptions::default().set_indexing_options(
            TextFieldIndexing::default()
                .set_tokenizer("english")
                .set_index_option(tantivy::schema::IndexRecordOption::WithFreqsAndPositions),
        );
        let mut schema = Schema::builder();
        let path = schema.add_text_field("path", text.clone() | STORED);
        let body = schema.add_text_field("body", text);
        let index = Index::create_in_ram(schema.build());
        let analyzer = TextAnalyzer::builder(SimpleTokenizer::default())
            .filter(LowerCaser)
            .filter(
                StopWordFilter::new(Language::English).unwrap_or_else(|| StopWordFilter::remove(Vec::new())),
            )
            .filter(Stemmer::new(Language::English))
            .build();
        index.tokenizers().register("english", analyzer);
        let mut writer = index.writer(64 << 20)?;
        add(tree, tree, &mut |name, contents| {
            let lines: Vec<&str> = contents.lines().collect();
            for lines in lines.chunks(window.unwrap_or(usize::MAX)) {
                writer.add_document(doc!(path => name, body => lines.join("\n")))?;
            }
            Ok(())
        })?;
        writer.commit()?;
        let parser = QueryParser::for_index(&index, vec![path, body]);
        Ok(Self { reader: index.reader()?, parser, path })
    }

    /// Files by BM25, the best first.
    pub(super) fn files(&self, question: &str) -> Result<Vec<String>> {
        let (query, _) = self.parser.parse_query_lenient(question);
        let searcher = self.reader.searcher();
        let mut files: Vec<String> = Vec::new();
        for (_, address) in searcher.search(&query, &TopDocs::with_limit(MAX_FILES * 10).order_by_score())? {
            let document: TantivyDocument = searcher.doc(address)?;
            let path =
                document.get_first(self.path).and_then(|path| path.as_str()).unwrap_or_default().to_owned();
            if !files.contains(&path) && files.len() < MAX_FILES {
                files.push(path);
            }
        }
        Ok(files)
    }
}

/// Every file of text below a directory, hidden ones left out.
fn add(top: &Path, dir: &Path, file: &mut dyn FnMut(&str, &str) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            add(top, &path, file)?;
        } else if let Ok(text) = fs::read_to_string(&path) {
            let name = path.strip_prefix(top)?.to_string_lossy().into_owned();
            file(&name, &text)?;
        }
    }
    Ok(())
}
