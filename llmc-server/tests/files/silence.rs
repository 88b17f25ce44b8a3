//! Nothing tells whether a path outside a root exists: same words, same kind, for every tool and every way out.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

use crate::attempts::{BAIT, LOOT, all};
use crate::ground::{Ground, Refusal, SECRET, outcome, setup};
use crate::support::{Called, Setup};
use crate::without::{user_namespaces, without};

/// Names outside, all of one length. The last one is not there.
const NAMES: [&str; 8] =
    ["plain.x", "empty.x", "direc.x", "locke.x", "fifos.x", "loops.x", "links.x", "missi.x"];
const MISSING: &str = "missi.x";

fn make_names(setup: &Setup) {
    let folder = setup.folder.path();
    fs::write(folder.join("plain.x"), SECRET).unwrap();
    fs::write(folder.join("empty.x"), "").unwrap();
    fs::create_dir_all(folder.join("direc.x/sub")).unwrap();
    fs::write(folder.join("locke.x"), SECRET).unwrap();
    fs::set_permissions(folder.join("locke.x"), Permissions::from_mode(0o0)).unwrap();
    mknodat(CWD, folder.join("fifos.x"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    symlink("loops.x", folder.join("loops.x")).unwrap();
    symlink("work", folder.join("links.x")).unwrap();
}

/// A refusal without the name that was asked for. Everything else must be the same.
#[track_caller]
fn nameless(name: &str, tool: &str, called: &Called) -> Refusal {
    match outcome(called) {
        Err(Refusal { kind, text }) => Refusal { kind, text: text.replace(name, "NAME") },
        Ok(result) => panic!("{tool} {name}: {result}"),
    }
}

/// Asks for every name by each of these ways. Returns how many calls that were.
fn check_ways(ground: &mut Ground, ways: &[String]) -> usize {
    let mut count = 0;
    for way in ways {
        let answers: Vec<Vec<Refusal>> = NAMES
            .iter()
            .map(|name| {
                let calls = all(&way.replace("NAME", name));
                let answers = ground.batch(&calls);
                count += calls.len();
                calls.iter().zip(&answers).map(|((tool, _), called)| nameless(name, tool, called)).collect()
            })
            .collect();
        let missing = answers.last().unwrap();
        for (name, answers) in NAMES.iter().zip(&answers) {
            for ((tool, arguments), (answer, missing)) in all(name).iter().zip(answers.iter().zip(missing)) {
                assert!(answer.is_outside(), "{way}: {tool} {arguments}: {answer:?}");
                assert_eq!(answer, missing, "{way}: {tool} {arguments} tells {name} from {MISSING}");
            }
        }
    }
    count
}

fn check_silence(setup: Setup) {
    make_names(&setup);
    let mut ground = Ground::start(setup);
    ground.file(BAIT, "bait").file("dir/f.txt", "inside");
    let outside = ground.outside().display().to_string();
    ground.link("up", "..").link("top", &outside).link("dir/far", "../../outside/..").link("chain", "up");
    let mut ways: Vec<String> = [
        "../NAME",
        "work:../NAME",
        "dir/../../NAME",
        "/work/../NAME",
        "../NAME/x",
        "../NAME/sub",
        "../NAME/../x",
        "up/NAME",
        "top/NAME",
        "top/NAME/x",
        "dir/far/NAME",
        "chain/NAME",
        "up/NAME/../NAME",
        "../work/../NAME",
    ]
    .map(str::to_owned)
    .to_vec();
    ways.extend(["NAME", "NAME/x", "work/../NAME", "work2/../NAME"].map(|end| format!("{outside}/{end}")));
    let calls = check_ways(&mut ground, &ways);
    assert_eq!(calls, ways.len() * NAMES.len() * all("x").len());

    check_links(&mut ground);
    // Beside them, a name in the root does tell whether it exists.
    assert_eq!(ground.ok("read_file", json!({"path": "dir/f.txt"}))["text"], "inside");
    let refusal = ground.refused("read_file", json!({"path": "dir/g.txt"}));
    assert!(refusal.text.contains("no such file"), "{refusal:?}");
    ground.end();
}

/// Links in the root to each name: what they lead to is told by no tool, and what they say is the same.
fn check_links(ground: &mut Ground) {
    for name in NAMES {
        ground.link(name, format!("../{name}"));
    }
    let keeps_link = |tool: &str| ["stat", "copy_path", "move_path", "delete_path"].contains(&tool);
    let mut answers: Vec<Vec<Refusal>> = Vec::new();
    let mut described: Vec<Value> = Vec::new();
    for name in NAMES {
        let calls: Vec<_> = all(name).into_iter().filter(|(tool, _)| !keeps_link(tool)).collect();
        let called = ground.batch(&calls);
        answers.push(
            calls.iter().zip(&called).map(|((tool, _), called)| nameless(name, tool, called)).collect(),
        );
        let mut facts = ground.ok("stat", json!({"path": name}));
        let fields = facts.as_object_mut().unwrap();
        fields.retain(|field, _| !["modified", "accessed", "changed", "created"].contains(&field.as_str()));
        described.push(serde_json::from_str(&facts.to_string().replace(name, "NAME")).unwrap());
        // What moves, copies or deletes is about the link itself.
        ground.ok("copy_path", json!({"from": name, "to": LOOT}));
        ground.ok("delete_path", json!({"path": LOOT, "recursive": true}));
    }
    let missing = answers.last().unwrap();
    for (name, answers) in NAMES.iter().zip(&answers) {
        assert_eq!(answers, missing, "a link to {name}");
    }
    assert!(described.windows(2).all(|pair| pair[0] == pair[1]), "{described:#?}");
    assert_eq!(described[0]["link"]["leads"], "outside");
}

#[test]
fn whether_a_path_outside_exists_is_not_told() {
    check_silence(setup());
}

/// Without namespaces the old tree is still there, and only Landlock and the way of opening keep it away.
#[test]
fn nor_where_hosts_have_no_namespaces() {
    check_silence(setup().prepare(without(&user_namespaces())));
}

/// Files of the machine that are there or not, known by their names.
#[test]
fn nor_of_the_machine() {
    let mut ground = Ground::new();
    ground.file(BAIT, "bait");
    for (there, missing) in [
        ("/etc/passwd", "/etc/passwe"),
        ("/etc", "/etd"),
        ("/root/.ssh", "/root/.ssi"),
        ("/proc/self/environ", "/proc/self/enviroo"),
        ("/proc/1/root", "/proc/1/roou"),
        ("/fd/3", "/fe/3"),
        ("/roots/0", "/roots/9"),
        ("/", "/."),
    ] {
        let [calls, others] = [there, missing].map(all);
        let [answers, missing_answers] = [&calls, &others].map(|calls| ground.batch(calls));
        for (index, (tool, _)) in calls.iter().enumerate() {
            let answer = nameless(there, tool, &answers[index]);
            assert!(answer.is_outside(), "{tool} {there}: {answer:?}");
            assert_eq!(answer, nameless(missing, tool, &missing_answers[index]), "{tool} {there}");
        }
    }
    ground.end();
}
