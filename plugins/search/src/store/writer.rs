//! Writing: whole files, several in a transaction.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::{StoreError, schema};
use crate::document::Document;
use crate::filter::is_document;

/// Names whose numbers are remembered.
const MAX_REMEMBERED: usize = 100_000;

/// The one connection that writes.
pub(crate) struct Writer {
    connection: Connection,
    names: HashMap<String, i64>,
}

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) id: i64,
    pub(crate) size: i64,
    pub(crate) mtime_ns: i64,
    pub(crate) hash: [u8; 16],
}

impl Writer {
    /// Opens the database in a folder, or makes it.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: schema::open_writer(&super::file(folder))?, names: HashMap::new() })
    }

    /// Changes when somebody else has written to the database.
    pub(crate) fn version(&self) -> Result<i64, StoreError> {
        Ok(self.connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// Gives back what was only needed for writing.
    pub(crate) fn rest(&mut self) -> Result<(), StoreError> {
        self.names = HashMap::new();
        self.connection.execute_batch("PRAGMA shrink_memory")?;
        Ok(())
    }

    /// Numbers the roots, and forgets those that are not among these or lie elsewhere now.
    pub(crate) fn set_roots(&mut self, roots: &[(&str, &[u8])]) -> Result<Vec<i64>, StoreError> {
        let known: Vec<(i64, String, Vec<u8>)> = {
            let mut statement = self.connection.prepare("SELECT id, name, path FROM roots")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        for (id, name, path) in known {
            if roots.contains(&(&*name, &*path)) {
                continue;
            }
            for (_, file) in self.known_files(id)? {
                self.begin()?;
                self.delete(file.id)?;
                self.commit()?;
            }
            self.connection.execute("DELETE FROM roots WHERE id = ?1", [id])?;
        }
        let mut ids = Vec::new();
        for (name, path) in roots {
            let sql = "INSERT INTO roots(name, path) VALUES(?1, ?2) ON CONFLICT DO NOTHING";
            self.connection.execute(sql, params![name, path])?;
            let sql = "SELECT id FROM roots WHERE name = ?1";
            ids.push(self.connection.query_row(sql, [name], |row| row.get(0))?);
        }
        Ok(ids)
    }

    /// Every file of a root, by path.
    pub(crate) fn known_files(&self, root: i64) -> Result<HashMap<String, Known>, StoreError> {
        let sql = "SELECT path, id, size, mtime_ns, hash FROM files WHERE root = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([root], |row| {
            let known =
                Known { id: row.get(1)?, size: row.get(2)?, mtime_ns: row.get(3)?, hash: row.get(4)? };
            Ok((row.get(0)?, known))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn begin(&mut self) -> Result<(), StoreError> {
        // Dropped without an end: the transaction stays open, and is ended by `commit` or `roll_back`.
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        self.connection.execute_batch("COMMIT")?;
        Ok(())
    }

    pub(crate) fn roll_back(&mut self) {
        self.names.clear();
        // Nothing to undo is what was wanted.
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    /// Notes that a file was touched and did not change.
    pub(crate) fn touch(&mut self, id: i64, size: i64, mtime_ns: i64) -> Result<(), StoreError> {
        let sql = "UPDATE files SET size = ?2, mtime_ns = ?3 WHERE id = ?1";
        self.connection.prepare_cached(sql)?.execute([id, size, mtime_ns])?;
        Ok(())
    }

    /// Writes a file in the place of what was known of it; returns its number.
    pub(crate) fn put(&mut self, root: i64, document: &Document) -> Result<i64, StoreError> {
        let old: Option<i64> = self
            .connection
            .prepare_cached("SELECT id FROM files WHERE root = ?1 AND path = ?2")?
            .query_row(params![root, document.path], |row| row.get(0))
            .optional()?;
        if let Some(old) = old {
            self.delete(old)?;
        }
        let sql = "INSERT INTO files(root, path, size, mtime_ns, hash, language, is_test, lines)
                   VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let language = document.language.name();
        self.connection.prepare_cached(sql)?.execute(params![
            root,
            document.path,
            document.size,
            document.mtime_ns,
            document.hash,
            language,
            document.is_test,
            document.lines
        ])?;
        let file = self.connection.last_insert_rowid();
        let last: i64 = self
            .connection
            .prepare_cached("SELECT coalesce(max(id), 0) FROM chunks")?
            .query_row([], |row| row.get(0))?;
        let symbols = self.put_symbols(file, document, last + 1)?;
        self.put_uses(file, document, &symbols)?;
        self.put_chunks(file, document, &symbols, last + 1)?;
        self.connection
            .prepare_cached("INSERT INTO docs(rowid, path, names, introduction) VALUES(?1, ?2, ?3, ?4)")?
            .execute(params![file, document.path_words, document.name_words, document.introduction])?;
        Ok(file)
    }

    /// `first_chunk` is the number that the first chunk of the file will get.
    fn put_symbols(
        &mut self,
        file: i64,
        document: &Document,
        first_chunk: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let mut ids: Vec<i64> = Vec::with_capacity(document.outline.symbols.len());
        for symbol in &document.outline.symbols {
            let name = self.name_id(&symbol.name)?;
            let parent = symbol.parent.and_then(|index| ids.get(index).copied());
            let after = document.pieces.iter().position(|piece| piece.chunk.last_line >= symbol.name_line);
            let chunk = after.and_then(|index| Some(first_chunk + i64::try_from(index).ok()?));
            let sql =
                "INSERT INTO symbols(file, name, kind, first_line, last_line, name_line, parent, chunk, signature)
                       VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            self.connection.prepare_cached(sql)?.execute(params![
                file,
                name,
                symbol.kind.name(),
                symbol.first_line,
                symbol.last_line,
                symbol.name_line,
                parent,
                chunk,
                symbol.signature
            ])?;
            let id = self.connection.last_insert_rowid();
            ids.push(id);
            let mut words = [String::new(), String::new()];
            crate::words::push_indexed(&symbol.name, &mut words[0]);
            if let Some(around) = symbol.parent.and_then(|index| document.outline.symbols.get(index)) {
                crate::words::push_indexed(&around.name, &mut words[1]);
            }
            let sql = "INSERT INTO defs(rowid, name, parent) VALUES(?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute(params![id, words[0], words[1]])?;
        }
        Ok(ids)
    }

    fn put_uses(&mut self, file: i64, document: &Document, symbols: &[i64]) -> Result<(), StoreError> {
        for used in &document.outline.uses {
            let name = self.name_id(&used.name)?;
            let within = used.within.and_then(|index| symbols.get(index).copied()).unwrap_or(-file);
            let sql = "INSERT INTO uses(within, name, usage, file, line) VALUES(?1, ?2, ?3, ?4, ?5)
                       ON CONFLICT DO NOTHING";
            let usage = used.usage.name();
            self.connection.prepare_cached(sql)?.execute(params![within, name, usage, file, used.line])?;
        }
        Ok(())
    }

    fn put_chunks(
        &mut self,
        file: i64,
        document: &Document,
        symbols: &[i64],
        first_chunk: i64,
    ) -> Result<(), StoreError> {
        let is_document = is_document(document.language.name());
        for (id, piece) in (first_chunk..).zip(&document.pieces) {
            let chunk = &piece.chunk;
            let symbol = chunk.symbols.first().copied().or(chunk.within).and_then(|index| symbols.get(index));
            let sql = "INSERT INTO chunks(id, file, first_line, last_line, symbol, is_test, is_document)
                       VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let (first, last) = (chunk.first_line, chunk.last_line);
            let row = params![id, file, first, last, symbol, document.is_test, is_document];
            self.connection.prepare_cached(sql)?.execute(row)?;
            let sql = "INSERT INTO text(rowid, names, path, head, body) VALUES(?1, ?2, ?3, ?4, ?5)";
            let row = params![id, piece.names, document.path_words, piece.head, piece.body];
            self.connection.prepare_cached(sql)?.execute(row)?;
            let sql = "INSERT INTO grams(rowid, body) VALUES(?1, ?2)";
            self.connection.prepare_cached(sql)?.execute(params![id, piece.grams])?;
            if let Some(vector) = &piece.vector {
                let bytes: Vec<u8> = vector.iter().map(|value| value.cast_unsigned()).collect();
                let sql = "INSERT INTO vectors(chunk, vector) VALUES(?1, ?2)";
                self.connection.prepare_cached(sql)?.execute(params![id, bytes])?;
            }
        }
        Ok(())
    }

    fn name_id(&mut self, name: &str) -> Result<i64, StoreError> {
        if let Some(id) = self.names.get(name) {
            return Ok(*id);
        }
        let sql = "INSERT INTO names(name) VALUES(?1) ON CONFLICT DO NOTHING";
        let id = match self.connection.prepare_cached(sql)?.execute([name])? {
            0 => self
                .connection
                .prepare_cached("SELECT id FROM names WHERE name = ?1")?
                .query_row([name], |row| row.get(0))?,
            _ => self.connection.last_insert_rowid(),
        };
        if self.names.len() >= MAX_REMEMBERED {
            self.names.clear();
        }
        self.names.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Forgets a file.
    pub(crate) fn delete(&mut self, file: i64) -> Result<(), StoreError> {
        for sql in [
            "DELETE FROM text WHERE rowid IN (SELECT id FROM chunks WHERE file = ?1)",
            "DELETE FROM grams WHERE rowid IN (SELECT id FROM chunks WHERE file = ?1)",
            "DELETE FROM vectors WHERE chunk IN (SELECT id FROM chunks WHERE file = ?1)",
            "DELETE FROM chunks WHERE file = ?1",
            "DELETE FROM defs WHERE rowid IN (SELECT id FROM symbols WHERE file = ?1)",
            "DELETE FROM uses WHERE within IN (SELECT id FROM symbols WHERE file = ?1)",
            "DELETE FROM uses WHERE within = -?1",
            "DELETE FROM symbols WHERE file = ?1",
            "DELETE FROM docs WHERE rowid = ?1",
            "DELETE FROM files WHERE id = ?1",
        ] {
            self.connection.prepare_cached(sql)?.execute([file])?;
        }
        Ok(())
    }

    /// Notes the commit that a root was at when all its files had been looked at.
    pub(crate) fn set_commit(&mut self, root: i64, commit: Option<&str>) -> Result<(), StoreError> {
        let sql = "UPDATE roots SET indexed_commit = ?2 WHERE id = ?1 AND indexed_commit IS NOT ?2";
        self.connection.execute(sql, params![root, commit])?;
        Ok(())
    }

    /// A fact about the index.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        Ok(self.connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Notes a fact about the index.
    pub(crate) fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value";
        self.connection.execute(sql, [key, value])?;
        Ok(())
    }

    /// Merges the parts of the full-text tables, after much was written.
    pub(crate) fn tidy(&mut self) -> Result<(), StoreError> {
        for table in ["text", "defs", "docs", "grams"] {
            self.connection.execute(&format!("INSERT INTO {table}({table}) VALUES('optimize')"), [])?;
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
        transaction.execute_batch("ANALYZE")?;
        transaction.commit()?;
        // What is left in the log is written to the database when nobody reads it.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        Ok(())
    }
}
