//! tantivy's BM25.
//!
//! Behind a feature: no other benchmark needs it, and it takes longer to build than all of them.

use std::fs;
use std::path::Path;

use anyhow::Result;
use tantivy::collector::TopDocs;
use tantivy::query::QueryParser;
use tantivy::schema::{Field, STORED, Schema, TextFieldIndexing, TextOptions, Value as _};
use tantivy::tokenizer::{Language, LowerCaser, SimpleTokenizer, Stemmer, StopWordFilter, TextAnalyzer};
use tantivy::{Index, IndexReader, TantivyDocument, doc};

use super::ripgrep::MAX_FILES;

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
