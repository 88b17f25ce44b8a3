//! The main job: what a model does all day.

use std::time::Instant;

use serde_json::json;

use crate::session::Session;

pub(crate) async fn tools(session: &mut Session) -> anyhow::Result<()> {
    session.part("tools that the client sees");
    let begun = Instant::now();
    let tools = session.peer().list_all_tools().await?;
    let took = begun.elapsed();
    let lines: Vec<String> = tools
        .iter()
        .map(|tool| {
            let description =
                tool.description.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
            let short: String = description.chars().take(90).collect();
            format!("{:14} {short}", tool.name)
        })
        .collect();
    session.show(&lines.join("\n"));
    let wanted =
        ["edit_file", "execute_code", "list_dir", "read_file", "run_command", "search_files", "write_file"];
    let all = wanted.iter().all(|name| tools.iter().any(|tool| tool.name == *name));
    session.check(all, "file, command and code tools are there", took);
    Ok(())
}

pub(crate) async fn files(session: &mut Session) -> anyhow::Result<()> {
    session.part("read a file: read_file {\"path\": \"work:README.md\"}");
    let answer = session.call("read_file", json!({"path": "work:README.md"})).await?;
    session.show(&answer.text());
    session.check(answer.text().contains("Counts apples."), "the file was read", answer.took);

    let answer = session.call("list_dir", json!({"path": "work:data"})).await?;
    let count = answer.text().matches("harvest-").count();
    session.check(count >= 8, &format!("list_dir work:data names {count} harvests"), answer.took);
    Ok(())
}

pub(crate) async fn editing(session: &mut Session) -> anyhow::Result<()> {
    session.part("find and edit: search_files {\"pattern\": \"Counts\"}, then edit_file");
    let answer = session.call("search_files", json!({"pattern": "Counts", "path": "work:"})).await?;
    session.show(&answer.text());
    session.check(answer.text().contains("README.md"), "the line was found", answer.took);

    let edit = json!({"old": "`data/` harvests", "new": "`data/` harvests, a file each"});
    let answer = session.call("edit_file", json!({"path": "work:README.md", "edits": [edit]})).await?;
    session.show(&answer.text());
    session.check(
        answer.text().contains("+- `data/` harvests, a file each"),
        "the file was edited",
        answer.took,
    );

    let edit = json!({"old": "no such line", "new": ""});
    let answer = session.call("edit_file", json!({"path": "work:README.md", "edits": [edit]})).await?;
    session.show(&answer.text());
    session.check(answer.is_error(), "an edit that does not fit changes nothing", answer.took);
    Ok(())
}

pub(crate) async fn command(session: &mut Session) -> anyhow::Result<()> {
    session
        .part("run a command in a jail: run_command {\"argv\": [\"wc\", \"-l\", …], \"cwd\": \"work:src\"}");
    let arguments = json!({"argv": ["wc", "-l", "count.py", "report.py"], "cwd": "work:src"});
    let answer = session.call("run_command", arguments).await?;
    session.show(answer.structured()["stdout"].as_str().unwrap_or(&answer.text()));
    let held = answer.structured()["exit_code"] == 0 && answer.text().contains("report.py");
    session.check(held, "the command ran over the granted directory", answer.took);
    Ok(())
}

/// Eight files are read in the jail; the model sees three lines.
const SUMMARY: &str = r#"from llmc import tools

totals = {}
for entry in tools.list_dir(path="work:data")["entries"]:
    text = tools.read_file(path="work:data/" + entry["name"])["text"]
    rows = [line.split(",") for line in text.splitlines()[1:]]
    totals[entry["name"]] = sum(int(apples) for _, apples in rows)

best = max(totals, key=totals.get)
{"files": len(totals), "apples": sum(totals.values()), "best": best}
"#;

pub(crate) async fn code(session: &mut Session) -> anyhow::Result<()> {
    session.part("run code that calls tools back, and returns only a summary: execute_code");
    session.show(SUMMARY);
    let answer = session.call("execute_code", json!({"code": SUMMARY})).await?;
    let result = answer.structured();
    let calls = result["tool_calls"].as_array().map_or(0, Vec::len);
    session.show(&format!("result: {}", result["result"]));
    session.check(result["result"]["files"] == 8, "eight files became one line", answer.took);
    session.check(calls == 9, &format!("{calls} calls went back through the server"), answer.took);
    Ok(())
}

pub(crate) async fn still_alive(session: &mut Session) -> anyhow::Result<()> {
    session.part("after all that");
    let answer = session.call("read_file", json!({"path": "work:README.md"})).await?;
    session.check(answer.text().contains("Counts apples."), "the server answers as before", answer.took);
    Ok(())
}
