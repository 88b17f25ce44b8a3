//! Reading: every question that tools ask of the database.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{StoreError, schema};
use crate::meaning::likeness;

/// A connection that reads.
pub(crate) struct Reader {
    connection: Connection,
    /// Of the file that it reads.
    pub(crate) identity: Option<u64>,
}

/// A chunk and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRow {
    pub(crate) id: i64,
    pub(crate) file: i64,
    pub(crate) root: String,
    pub(crate) path: String,
    pub(crate) language: String,
    pub(crate) is_test: bool,
    pub(crate) first_line: u32,
    pub(crate) last_line: u32,
    /// Name and kind of the symbol that it is about.
    pub(crate) symbol: Option<(String, String)>,
}

/// What ranking needs of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brief {
    pub(crate) file: i64,
    pub(crate) first_line: u32,
    pub(crate) last_line: u32,
    pub(crate) is_test: bool,
    pub(crate) is_document: bool,
    /// Number of the name of the symbol that it is about, unless that is a heading.
    pub(crate) name: Option<i64>,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileRow {
    pub(crate) root: String,
    pub(crate) path: String,
    pub(crate) language: String,
    pub(crate) is_test: bool,
}

/// A symbol and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SymbolRow {
    pub(crate) id: i64,
    pub(crate) file: i64,
    pub(crate) root: String,
    pub(crate) path: String,
    pub(crate) is_test: bool,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) first_line: u32,
    pub(crate) last_line: u32,
    pub(crate) name_line: u32,
    pub(crate) parent: Option<i64>,
    pub(crate) signature: String,
}

/// One step of a lineage: a symbol, or a name that nothing in the index defines, and the line of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lineage {
    pub(crate) name: String,
    /// Symbol around the call, minus the file if there is none.
    pub(crate) within: i64,
    pub(crate) line: u32,
}

/// How much there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) files: i64,
    pub(crate) lines: i64,
    pub(crate) chunks: i64,
    pub(crate) symbols: i64,
    pub(crate) languages: Vec<(String, i64)>,
}

const CHUNK: &str = "
    SELECT c.id, c.file, r.name, f.path, f.language, f.is_test, c.first_line, c.last_line, n.name, s.kind
    FROM chunks c JOIN files f ON f.id = c.file JOIN roots r ON r.id = f.root
        LEFT JOIN symbols s ON s.id = c.symbol LEFT JOIN names n ON n.id = s.name";

const SYMBOL: &str = "
    SELECT s.id, s.file, r.name, f.path, f.is_test, n.name, s.kind, s.first_line, s.last_line, s.name_line, s.parent,
        s.signature
    FROM symbols s JOIN names n ON n.id = s.name JOIN files f ON f.id = s.file JOIN roots r ON r.id = f.root";

impl Reader {
    /// Opens the database in a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, StoreError> {
        let identity = super::identity(folder);
        Ok(Self { connection: schema::open_reader(&super::file(folder))?, identity })
    }

    /// Whether the pages of the database fit together; reads all of it.
    pub(crate) fn is_sound(&self) -> Result<bool, StoreError> {
        let answer: String = self.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        Ok(answer == "ok")
    }

    /// Asks several questions about the same state.
    pub(crate) fn consistent<T>(
        &self,
        ask: impl FnOnce(&Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction = self.connection.unchecked_transaction()?;
        let answer = ask(self);
        transaction.finish()?;
        answer
    }

    /// Rows of a full-text table, the best first; `weights` are those of its columns.
    pub(crate) fn matching(
        &self,
        table: &str,
        weights: &str,
        expression: &str,
        limit: u32,
    ) -> Result<Vec<i64>, StoreError> {
        // Not `ORDER BY rank`: the table would sort copies of all rows with their positions.
        let sql = format!("SELECT rowid, bm25({table}, {weights}) FROM {table} WHERE {table} MATCH ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([expression])?;
        let mut found: Vec<(f64, i64)> = Vec::new();
        while let Some(row) = rows.next()? {
            found.push((row.get(1)?, row.get(0)?));
        }
        // The lower the better; of equals the one that was written first.
        let order =
            |one: &(f64, i64), other: &(f64, i64)| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1));
        let limit = limit as usize;
        if found.len() > limit {
            found.select_nth_unstable_by(limit, order);
            found.truncate(limit);
        }
        found.sort_unstable_by(order);
        Ok(found.into_iter().map(|(_, rowid)| rowid).collect())
    }

    /// Rows of the table of letters that contain all of them, in any order.
    pub(crate) fn containing(&self, expression: &str, limit: u32) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT rowid FROM grams WHERE grams MATCH ?1 LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![expression, limit], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A chunk by its number.
    pub(crate) fn chunk(&self, id: i64) -> Result<Option<ChunkRow>, StoreError> {
        let sql = format!("{CHUNK} WHERE c.id = ?1");
        Ok(self.connection.prepare_cached(&sql)?.query_row([id], chunk_row).optional()?)
    }

    /// What ranking needs of a chunk.
    pub(crate) fn brief(&self, id: i64) -> Result<Option<Brief>, StoreError> {
        let sql = "SELECT c.file, c.first_line, c.last_line, c.is_test, c.is_document,
                       CASE WHEN s.kind <> 'heading' THEN s.name END
                   FROM chunks c LEFT JOIN symbols s ON s.id = c.symbol WHERE c.id = ?1";
        let row = |row: &Row<'_>| {
            Ok(Brief {
                file: row.get(0)?,
                first_line: row.get(1)?,
                last_line: row.get(2)?,
                is_test: row.get(3)?,
                is_document: row.get(4)?,
                name: row.get(5)?,
            })
        };
        Ok(self.connection.prepare_cached(sql)?.query_row([id], row).optional()?)
    }

    /// The first chunk of a file.
    pub(crate) fn first_chunk(&self, file: i64) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT id FROM chunks WHERE file = ?1 ORDER BY first_line LIMIT 1";
        Ok(self.connection.prepare_cached(sql)?.query_row([file], |row| row.get(0)).optional()?)
    }

    /// The chunk with the name of a symbol.
    pub(crate) fn chunk_of(&self, symbol: i64) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT chunk FROM symbols WHERE id = ?1";
        let chunk = self.connection.prepare_cached(sql)?.query_row([symbol], |row| row.get(0)).optional()?;
        Ok(chunk.flatten())
    }

    /// Numbers of a name, whatever its letter case.
    pub(crate) fn name_ids(&self, name: &str) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT id FROM names WHERE name = ?1 COLLATE NOCASE";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([name], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Chunks with definitions of a name, in the order of [`Self::symbols_named`].
    pub(crate) fn chunks_named(&self, name: &str, limit: u32) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT s.chunk FROM names n JOIN symbols s ON s.name = n.id JOIN files f ON f.id = s.file
             WHERE n.name = ?1 COLLATE NOCASE AND s.chunk IS NOT NULL
             ORDER BY n.name <> ?1, s.kind = 'impl', f.is_test, s.kind = 'heading', f.path, s.first_line LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![name, limit], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A file by its number.
    pub(crate) fn file_row(&self, file: i64) -> Result<Option<FileRow>, StoreError> {
        let sql = "SELECT r.name, f.path, f.language, f.is_test FROM files f JOIN roots r ON r.id = f.root
                   WHERE f.id = ?1";
        let row = |row: &Row<'_>| {
            let (root, path) = (row.get(0)?, row.get(1)?);
            Ok(FileRow { root, path, language: row.get(2)?, is_test: row.get(3)? })
        };
        Ok(self.connection.prepare_cached(sql)?.query_row([file], row).optional()?)
    }

    /// Chunks that mean nearly the same as a vector, the nearest first. Looks at all of them.
    pub(crate) fn meaning(&self, vector: &[i8], least: f32, limit: usize) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT chunk, vector FROM vectors")?;
        let mut rows = statement.query([])?;
        let mut found: Vec<(f32, i64)> = Vec::new();
        let mut bytes: Vec<i8> = Vec::new();
        while let Some(row) = rows.next()? {
            bytes.clear();
            let blob = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            bytes.extend(blob.iter().map(|byte| byte.cast_signed()));
            let likeness = likeness(vector, &bytes);
            if likeness >= least {
                found.push((likeness, row.get(0)?));
            }
        }
        found.sort_unstable_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        Ok(found.into_iter().take(limit).map(|(_, chunk)| chunk).collect())
    }

    pub(crate) fn symbol(&self, id: i64) -> Result<Option<SymbolRow>, StoreError> {
        let sql = format!("{SYMBOL} WHERE s.id = ?1");
        Ok(self.connection.prepare_cached(&sql)?.query_row([id], symbol_row).optional()?)
    }

    /// Definitions of a name, whatever its letter case; those with the same case first, then those outside of tests.
    pub(crate) fn symbols_named(&self, name: &str, limit: u32) -> Result<Vec<SymbolRow>, StoreError> {
        let sql = format!(
            "{SYMBOL} WHERE n.name = ?1 COLLATE NOCASE
             ORDER BY n.name <> ?1, s.kind = 'impl', f.is_test, s.kind = 'heading', f.path, s.first_line LIMIT ?2"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![name, limit], symbol_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The symbols of a file, in order.
    pub(crate) fn symbols_of(&self, file: i64) -> Result<Vec<SymbolRow>, StoreError> {
        let sql = format!("{SYMBOL} WHERE s.file = ?1 ORDER BY s.first_line, s.id");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([file], symbol_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Kinds of the symbols that begin between two lines of a file.
    pub(crate) fn kinds_between(&self, file: i64, first: u32, last: u32) -> Result<Vec<String>, StoreError> {
        let sql = "SELECT DISTINCT kind FROM symbols WHERE file = ?1 AND first_line BETWEEN ?2 AND ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![file, first, last], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Number, path and language of a file.
    pub(crate) fn file(&self, root: &str, path: &str) -> Result<Option<(i64, u32, String)>, StoreError> {
        let sql = "SELECT f.id, f.lines, f.language FROM files f JOIN roots r ON r.id = f.root
                   WHERE r.name = ?1 AND f.path = ?2";
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        Ok(self.connection.prepare_cached(sql)?.query_row([root, path], row).optional()?)
    }

    /// Root and path of a file.
    pub(crate) fn path_of(&self, file: i64) -> Result<Option<(String, String, bool)>, StoreError> {
        let sql =
            "SELECT r.name, f.path, f.is_test FROM files f JOIN roots r ON r.id = f.root WHERE f.id = ?1";
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        Ok(self.connection.prepare_cached(sql)?.query_row([file], row).optional()?)
    }

    /// Files with a use of a name that the syntax tells, those outside of tests first.
    pub(crate) fn files_using(&self, name: &str, limit: u32) -> Result<Vec<i64>, StoreError> {
        let sql =
            "SELECT DISTINCT u.file FROM uses u JOIN names n ON n.id = u.name JOIN files f ON f.id = u.file
                   WHERE n.name = ?1 ORDER BY f.is_test, f.path LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![name, limit], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Calls of a name.
    pub(crate) fn callers(&self, name: &str, limit: u32) -> Result<Vec<Lineage>, StoreError> {
        let sql = "SELECT n.name, u.within, u.line FROM uses u JOIN names n ON n.id = u.name
                   JOIN files f ON f.id = u.file
                   WHERE n.name = ?1 AND u.usage = 'call' ORDER BY f.is_test, f.path, u.line LIMIT ?2";
        self.lineage(sql, params![name, limit])
    }

    /// Names that a symbol calls, and those that symbols inside it call.
    pub(crate) fn callees(&self, symbol: &SymbolRow, limit: u32) -> Result<Vec<Lineage>, StoreError> {
        let sql = "SELECT n.name, u.within, min(u.line) FROM uses u JOIN names n ON n.id = u.name
                   WHERE u.usage = 'call' AND u.within IN (
                       SELECT id FROM symbols WHERE file = ?1 AND first_line >= ?2 AND last_line <= ?3)
                   GROUP BY n.name ORDER BY min(u.line) LIMIT ?4";
        self.lineage(sql, params![symbol.file, symbol.first_line, symbol.last_line, limit])
    }

    fn lineage(&self, sql: &str, bound: impl rusqlite::Params) -> Result<Vec<Lineage>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let row = |row: &Row<'_>| Ok(Lineage { name: row.get(0)?, within: row.get(1)?, line: row.get(2)? });
        let rows = statement.query_map(bound, row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(crate) fn counts(&self) -> Result<Counts, StoreError> {
        let number = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let languages = {
            let sql =
                "SELECT language, count(*) FROM files GROUP BY language ORDER BY count(*) DESC, language";
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<Result<_, _>>()?
        };
        Ok(Counts {
            files: number("SELECT count(*) FROM files")?,
            lines: number("SELECT coalesce(sum(lines), 0) FROM files")?,
            chunks: number("SELECT count(*) FROM chunks")?,
            symbols: number("SELECT count(*) FROM symbols")?,
            languages,
        })
    }

    /// Each root with the commit that it was indexed at.
    pub(crate) fn commits(&self) -> Result<Vec<(String, Option<String>)>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT name, indexed_commit FROM roots ORDER BY name")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A fact about the index.
    pub(crate) fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        Ok(self.connection.prepare_cached(sql)?.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Everything that files were turned into, as text: for comparing two indexes.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> Result<Vec<String>, StoreError> {
        let mut lines = Vec::new();
        for sql in [
            "SELECT r.name || ' ' || f.path || ' ' || f.size || ' ' || hex(f.hash) || ' ' || f.language || ' ' || f.lines
             FROM files f JOIN roots r ON r.id = f.root",
            "SELECT 'chunk ' || f.path || ' ' || c.first_line || ' ' || c.last_line || ' ' || ifnull(n.name, '')
             FROM chunks c JOIN files f ON f.id = c.file LEFT JOIN symbols s ON s.id = c.symbol
             LEFT JOIN names n ON n.id = s.name",
            "SELECT 'symbol ' || f.path || ' ' || n.name || ' ' || s.kind || ' ' || s.first_line || ' ' || s.signature
             FROM symbols s JOIN names n ON n.id = s.name JOIN files f ON f.id = s.file",
            "SELECT 'use ' || f.path || ' ' || n.name || ' ' || u.usage || ' ' || u.line
             FROM uses u JOIN names n ON n.id = u.name JOIN files f ON f.id = u.file",
            "SELECT 'vector ' || f.path || ' ' || c.first_line || ' ' || hex(v.vector)
             FROM vectors v JOIN chunks c ON c.id = v.chunk JOIN files f ON f.id = c.file",
            "SELECT 'name ' || f.path || ' ' || n.name || ' ' || s.name_line || ' ' || ifnull(c.first_line, '')
             FROM symbols s JOIN names n ON n.id = s.name JOIN files f ON f.id = s.file
             LEFT JOIN chunks c ON c.id = s.chunk",
            "SELECT 'rows ' || (SELECT count(*) FROM text) || ' ' || (SELECT count(*) FROM grams) || ' ' ||
             (SELECT count(*) FROM defs) || ' ' || (SELECT count(*) FROM docs)",
        ] {
            let mut statement = self.connection.prepare(sql)?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            lines.extend(rows.collect::<Result<Vec<_>, _>>()?);
        }
        lines.sort();
        Ok(lines)
    }
}

fn chunk_row(row: &Row<'_>) -> rusqlite::Result<ChunkRow> {
    let name: Option<String> = row.get(8)?;
    let kind: Option<String> = row.get(9)?;
    Ok(ChunkRow {
        id: row.get(0)?,
        file: row.get(1)?,
        root: row.get(2)?,
        path: row.get(3)?,
        language: row.get(4)?,
        is_test: row.get(5)?,
        first_line: row.get(6)?,
        last_line: row.get(7)?,
        symbol: name.zip(kind),
    })
}

fn symbol_row(row: &Row<'_>) -> rusqlite::Result<SymbolRow> {
    Ok(SymbolRow {
        id: row.get(0)?,
        file: row.get(1)?,
        root: row.get(2)?,
        path: row.get(3)?,
        is_test: row.get(4)?,
        name: row.get(5)?,
        kind: row.get(6)?,
        first_line: row.get(7)?,
        last_line: row.get(8)?,
        name_line: row.get(9)?,
        parent: row.get(10)?,
        signature: row.get(11)?,
    })
}
