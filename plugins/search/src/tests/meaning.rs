//! Ranking by meaning, with a model that is made here.

use super::*;

/// Only this finds the word for a car that is not `car`.
const FILES: &[(&str, &str)] = &[
    ("motor.rs", "/// The automobile.\nfn automobile() {}\n"),
    ("fruit.rs", "/// The banana.\nfn banana() {}\n"),
];

fn with_model(ground: &Ground) -> Harness {
    let folder = ground.folder.path().join("model");
    ground.harness().root("model", &folder, Access::Ro).config(json!({"embeddings": "model"}))
}

/// Words with a vector each, as model2vec saves them.
#[cfg(feature = "embeddings")]
fn write_model(ground: &Ground, words: &[(&str, [f32; 2])]) {
    let folder = ground.folder.path().join("model");
    std::fs::create_dir_all(&folder).unwrap();
    let vocab: Value = words.iter().enumerate().map(|(number, (word, _))| (*word, number)).collect();
    let tokenizer = json!({"model": {"type": "WordPiece", "vocab": vocab}});
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let data: Vec<u8> =
        words.iter().flat_map(|(_, vector)| vector).flat_map(|value| value.to_le_bytes()).collect();
    let tensor = json!({"dtype": "F32", "shape": [words.len(), 2], "data_offsets": [0, data.len()]});
    let header = json!({"embeddings": tensor}).to_string();
    let length = (header.len() as u64).to_le_bytes();
    let bytes = [&length[..], header.as_bytes(), &data].concat();
    std::fs::write(folder.join("model.safetensors"), bytes).unwrap();
}

#[test]
fn a_model_that_cannot_be_had_is_told_and_costs_nothing_else() {
    let ground = Ground::new(FILES);
    std::fs::create_dir(ground.folder.path().join("model")).unwrap();
    std::fs::write(ground.folder.path().join("model/tokenizer.json"), "{}").unwrap();
    let harness = with_model(&ground);
    let status = reindex(&harness);
    let note = status["notes"][0].as_str().unwrap();
    let why = if cfg!(feature = "embeddings") { "`model.safetensors`" } else { "feature `embeddings`" };
    assert!(note.contains("root `model`") && note.contains(why), "{note}");
    assert_eq!(paths(&search(&harness, "automobile")), ["work:motor.rs"]);
    // The folder of the model is none of those that are searched.
    assert_eq!(status["files"], 2);
}

#[cfg(feature = "embeddings")]
#[test]
fn what_means_the_same_is_found_by_another_word() {
    let ground = Ground::new(FILES);
    assert_eq!(paths(&search(&ground.harness(), "car")), [""; 0]);

    let ground = Ground::new(FILES);
    write_model(&ground, &[("car", [1.0, 0.1]), ("automobile", [0.9, 0.0]), ("banana", [0.0, 1.0])]);
    let harness = with_model(&ground);
    let arguments = json!({"query": "car", "explain": true});
    let answer = harness.call::<SearchCode>(arguments).unwrap().structured.unwrap();
    assert_eq!(paths(&answer), ["work:motor.rs"]);
    assert!(answer["results"][0]["why"].as_str().unwrap().contains("meaning 1"), "{answer}");
    // Words count as before, and what the model does not know does no harm.
    assert_eq!(paths(&search(&harness, "banana"))[0], "work:fruit.rs");
    assert_eq!(paths(&search(&harness, "xylophone")), [""; 0]);
    // What is deleted is gone from the vectors too.
    std::fs::remove_file(ground.work().join("motor.rs")).unwrap();
    assert_eq!(paths(&search(&harness, "car")), [""; 0]);
    let kept = ground.dump();
    harness.call::<Reindex>(json!({"full": true})).unwrap();
    assert_eq!(ground.dump(), kept);
    assert!(kept.iter().any(|line| line.starts_with("vector fruit.rs")), "{kept:?}");
}

#[cfg(feature = "embeddings")]
#[test]
fn another_model_has_everything_read_again() {
    let ground = Ground::new(FILES);
    reindex(&ground.harness());
    let state = |name: &str| {
        // Another process, with what this one has written.
        let folder = ground.folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        for entry in std::fs::read_dir(ground.state()).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        }
        folder
    };
    let model = ground.folder.path().join("model");
    for (name, likes, path) in [("first", [1.0, 0.0], "motor.rs"), ("second", [0.0, 1.0], "fruit.rs")] {
        write_model(&ground, &[("car", likes), ("automobile", [1.0, 0.0]), ("banana", [0.0, 1.0])]);
        let harness = harness_of(&ground.work(), &state(name));
        let harness = harness.root("model", &model, Access::Ro).config(json!({"embeddings": "model"}));
        assert_eq!(paths(&search(&harness, "car")), [format!("work:{path}")], "{name}");
    }
}
