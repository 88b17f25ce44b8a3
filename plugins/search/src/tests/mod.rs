//! Tests of the tools, without a server and a jail.

mod answers;
mod broken;
mod kills;
mod meaning;
mod packing;
mod queries;

use std::path::{Path, PathBuf};
use std::time::Duration;

use llmc_core::prelude::*;
use llmc_core::testing::Harness;
use tempfile::TempDir;

use crate::store::Reader;
use crate::{Reindex, SearchCode};

/// A root and a state folder.
struct Ground {
    folder: TempDir,
}

impl Ground {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["work", "state"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let ground = Self { folder };
        files.iter().for_each(|(path, text)| ground.write(path, text));
        ground
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.work().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn harness(&self) -> Harness {
        harness_of(&self.work(), &self.state())
    }

    /// Everything in the index.
    fn dump(&self) -> Vec<String> {
        Reader::open(&self.state()).unwrap().dump().unwrap()
    }
}

fn harness_of(work: &Path, state: &Path) -> Harness {
    Harness::new().root("work", work, Access::Ro).state(state).time_left(Duration::from_secs(120))
}

fn reindex(harness: &Harness) -> Value {
    harness.call::<Reindex>(json!({})).unwrap().structured.unwrap()
}

fn search(harness: &Harness, query: &str) -> Value {
    harness.call::<SearchCode>(json!({"query": query})).unwrap().structured.unwrap()
}

/// Paths of an answer, the best first.
fn paths(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|piece| piece["path"].as_str().unwrap()).collect()
}

/// A small project in several languages.
const PROJECT: &[(&str, &str)] = &[
    ("README.md", "# Shop\n\nA shop for tea.\n\n## Install\n\nRun `make`.\n"),
    (
        "src/cart.rs",
        "use crate::price::total_price;\n\n/// What somebody wants to buy.\npub struct Cart {\n    lines: Vec<Line>,\n}\n\n\
         impl Cart {\n    /// Adds a line and checks that there is enough of it.\n    pub fn add_line(&mut self, line: Line) {\n        \
         check_stock(&line);\n        self.lines.push(line);\n    }\n\n    pub fn sum(&self) -> u64 {\n        \
         total_price(&self.lines)\n    }\n}\n\nfn check_stock(line: &Line) {\n    assert!(line.count > 0);\n}\n",
    ),
    (
        "src/price.rs",
        "/// Sums up prices, with tax.\npub fn total_price(lines: &[Line]) -> u64 {\n    lines.iter().map(Line::price).sum()\n}\n",
    ),
    (
        "web/client.py",
        "import json\n\nclass HttpClient:\n    \"\"\"Talks to the shop.\"\"\"\n\n    def getUserName(self, user_id):\n        \
         return self.fetch(user_id)[\"name\"]\n\n    def fetch(self, path):\n        return json.loads(path)\n",
    ),
    (
        "tests/cart_test.rs",
        "#[test]\nfn total_price_of_an_empty_cart() {\n    assert_eq!(total_price(&[]), 0);\n}\n",
    ),
    ("engine/vec.cpp", "// C++ vectors\nnamespace engine {\nint dot(int a, int b) { return a * b; }\n}\n"),
];
