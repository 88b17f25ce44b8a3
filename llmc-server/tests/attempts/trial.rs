//! One trial in one jail: the probe, the calls after it, and the look at what is outside.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::ground::{CANARY, Ground, timeout_ms};
use crate::observe::kib;
use crate::outside::Outside;
use crate::pattern::{cut, differences, excerpt};
use crate::row::{Profile, Row, Trial, Watch};
use crate::step;
use crate::support::Called;

const PRELUDE: &str = include_str!("prelude.py");
/// Stands before the value that a probe in a command prints.
const MARK: &str = "\n@@RESULT@@";
/// Processes and threads of a run, process 1 and the runner's part in it.
const MOST_PROCESSES: usize = 100;
/// What the server may grow in an attempt, in KiB.
const MOST_GROWTH_KIB: u64 = 64 << 10;
/// A probe that runs beside calls goes on until this file is in the granted root: after so many calls.
const STOP: &str = "stop";
const ENOUGH_CALLS: u64 = 300;
/// Pause between two looks.
const PACE: Duration = Duration::from_millis(20);

/// What a trial showed.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) expected: Value,
    pub(crate) seen: Value,
    pub(crate) differs: Vec<String>,
}

/// Runs a trial.
pub(crate) fn run(ground: &mut Ground, row: &Row, trial: &Trial, profile: Profile) -> Shown {
    ground.prepare(trial);
    let before = Outside::now(ground.folder());
    let memory = kib(ground.server.pid(), "VmHWM");
    let mut shown = Shown::default();
    let (mut expected, mut seen) = (Map::new(), Map::new());
    let mut most = 0;
    let with_helpers = trial.code(profile).map(|code| {
        let guard = if row.dangerous { format!("demand({})\n", proof(profile)) } else { String::new() };
        format!("{PRELUDE}{guard}{code}")
    });
    if let Some(code) = with_helpers.as_ref().or(trial.plain.as_ref()) {
        let mut wanted = trial.expected(profile);
        if profile == Profile::Landlock {
            wanted.insert("isolation".into(), "landlock".into());
        }
        let found = probe(ground, row, trial, code, profile, &mut most);
        shown.differs.extend(differences(&wanted, &found));
        if !shown.differs.is_empty() {
            shown.differs.push(format!("the whole: {}", cut(&found.to_string())));
        }
        seen.extend(excerpt(&wanted, &found).as_object().cloned().unwrap_or_default());
        expected.extend(wanted);
        shown.differs.extend(leak(&found));
    }
    for (place, call) in trial.then.iter().enumerate() {
        let found = step::take(ground, call);
        let wanted = call.expected(profile);
        let here = |point: String| format!("call {} of `{}`: {point}", place + 1, call.name());
        shown.differs.extend(differences(&wanted, &found).into_iter().map(here));
        // A call that is refused for a misspelt argument shows nothing about what the row is about.
        let misspelt =
            found["text"].as_str().is_some_and(|text| text.starts_with("the arguments do not fit"));
        if misspelt && !expects_refusal(&wanted) {
            shown.differs.push(here(found["text"].to_string()));
        }
        let name = format!("{} {}", place + 1, call.name());
        let mut shown_here = excerpt(&wanted, &found);
        if found["is_error"] == true {
            // The words of a refusal tell whether it is the right one.
            shown_here["text"] =
                found["text"].as_str().unwrap_or_default().chars().take(120).collect::<String>().into();
        }
        seen.insert(name.clone(), shown_here);
        expected.insert(name, Value::Object(wanted));
        shown.differs.extend(leak(&found));
    }
    (shown.expected, shown.seen) = (Value::Object(expected), Value::Object(seen));
    shown.differs.extend(watched(ground, row, memory, most));
    shown.differs.extend(ground.left_over().map(|left| format!("processes are left: {left:?}")));
    shown.differs.extend(before.changes(&Outside::now(ground.folder())));
    shown
}

/// Whether a call is to be refused with certain words.
fn expects_refusal(expected: &Map<String, Value>) -> bool {
    let text = expected.get("text");
    expected.contains_key("kind") || text.is_some_and(|text| text.is_string() || text["pattern"].is_string())
}

/// The harmless probes that prove a jail of this profile, in `prelude.py`.
fn proof(profile: Profile) -> &'static str {
    if profile == Profile::Landlock { "is_a_lesser_jail()" } else { "is_a_jail()" }
}

/// Runs the code of a trial and tells what was seen.
fn probe(
    ground: &mut Ground,
    row: &Row,
    trial: &Trial,
    code: &str,
    profile: Profile,
    most: &mut usize,
) -> Value {
    let code = ground.fill(code);
    if row.dangerous {
        let ask = format!("{PRELUDE}result = {}", proof(profile));
        let is_a_jail = execute(ground, &ask, profile, &row.limits);
        let found = finish(ground, is_a_jail, &[], most);
        if found["result"] != true {
            return json!({"result": "this is no jail: nothing dangerous is tried", "found": found});
        }
    }
    let id = execute(ground, &code, profile, &row.limits);
    finish(ground, id, &trial.meanwhile, most)
}

/// Starts code in a jail of this profile; the number of the request.
fn execute(ground: &mut Ground, code: &str, profile: Profile, limits: &BTreeMap<String, u64>) -> u64 {
    let timeout_ms = timeout_ms(limits);
    match profile {
        Profile::Code | Profile::Landlock => {
            ground.server.send_call("execute_code", json!({"code": code, "timeout_ms": timeout_ms}))
        }
        Profile::Workspace | Profile::Tools | Profile::Host => {
            let tell = "import json as _json\nsys.stdout.flush()\nos.write(1, ('MARK' + _json.dumps(result)).encode())\n";
            let tell = tell.replace("MARK", &MARK.escape_default().to_string());
            let argv =
                ["python3", "-I", "-S", "-X", "utf8", "-c", &format!("{code}\n{tell}")].map(str::to_owned);
            ground.server.send_call("run_command", json!({"argv": argv, "timeout_ms": timeout_ms}))
        }
    }
}

/// Waits for the answer, counting processes, and making the other calls again and again.
fn finish(ground: &mut Ground, id: u64, meanwhile: &[Call], most: &mut usize) -> Value {
    let (mut calls, mut successes, mut leaks) = (0_u64, 0_u64, 0_u64);
    let mut turns = meanwhile.iter().cycle();
    while !ground.server.is_answered_within(id, if meanwhile.is_empty() { PACE } else { Duration::ZERO }) {
        let Some(call) = turns.next() else {
            *most = (*most).max(ground.busy());
            continue;
        };
        let called = ground.call(call.tool.as_deref().unwrap_or_default(), &call.arguments);
        calls += 1;
        successes += u64::from(!called.is_error());
        leaks += u64::from(called.0.to_string().contains(CANARY));
        if calls >= ENOUGH_CALLS && successes > 0 {
            std::fs::write(ground.folder().join("work").join(STOP), "").unwrap();
        }
    }
    let mut found = answer(&ground.server.called(id));
    if !meanwhile.is_empty() {
        found["meanwhile"] = json!({"calls": calls, "successes": successes, "leaks": leaks});
    }
    found
}

/// What an answer says: its structured content, its text, whether it is an error, and what a probe in a command told.
pub(crate) fn answer(called: &Called) -> Value {
    let mut found = called.0["result"]["structuredContent"].clone();
    if !found.is_object() {
        found = json!({"protocol_error": called.0["error"]});
    }
    found["is_error"] = called.is_error().into();
    found["text"] = called.text().into();
    found["kind"] = called.0["result"]["_meta"]["llmc/error"].clone();
    if let Some((before, told)) = found["stdout"].as_str().and_then(|stdout| stdout.split_once(MARK)) {
        let (before, told) = (before.to_owned(), serde_json::from_str(told).unwrap_or_default());
        found["stdout"] = before.into();
        found["result"] = told;
    }
    found
}

fn leak(found: &Value) -> Option<String> {
    found.to_string().contains(CANARY).then(|| format!("the canary was seen: {found}"))
}

/// What the row wants watched.
fn watched(ground: &Ground, row: &Row, memory: u64, most: usize) -> Vec<String> {
    let look = |watch: &Watch| match watch {
        Watch::Listeners => ground.listeners.visitors(),
        Watch::Processes if most > MOST_PROCESSES => vec![format!("there were {most} processes at a time")],
        Watch::ServerMemory => {
            let growth = kib(ground.server.pid(), "VmHWM").saturating_sub(memory);
            let text = format!("the server grew by {growth} KiB");
            (growth > MOST_GROWTH_KIB).then_some(text).into_iter().collect()
        }
        Watch::Processes => Vec::new(),
    };
    row.host.iter().flat_map(look).collect()
}
