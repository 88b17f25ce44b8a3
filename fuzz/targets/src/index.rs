//! What the index is asked.

use std::str::from_utf8;

use rusqlite::Connection;

const TABLES: &str = "
    CREATE VIRTUAL TABLE words USING fts5(body, content='', contentless_delete=1, tokenize='porter ascii');
    CREATE VIRTUAL TABLE grams USING fts5(
        body, content='', contentless_delete=1, detail=none, tokenize='trigram case_sensitive 1');
    INSERT INTO words(rowid, body) VALUES(1, 'total price total_price of the cart');
    INSERT INTO grams(rowid, body) VALUES(1, 'total_price() of the c++ cart');";

thread_local! {
    static INDEX: Connection = {
        let index = Connection::open_in_memory().expect("memory is there");
        index.execute_batch(TABLES).expect("the tables can be made");
        index
    };
}

/// From what a user types to what the index is asked: whatever it is, the database takes it.
pub fn query(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    let (words, grams) = search::expressions(text);
    INDEX.with(|index| {
        for (table, expressions) in [("words", words), ("grams", grams)] {
            let sql = format!("SELECT count(*) FROM {table} WHERE {table} MATCH ?1");
            for expression in expressions {
                let count = index.query_row(&sql, [&expression], |row| row.get::<_, i64>(0));
                count.unwrap_or_else(|error| panic!("{text:?} became {expression}: {error}"));
            }
        }
    });
}
