//! The original attack, and its relatives: refused or contained, while the server keeps answering.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::CANARY;
use crate::session::{Session, call};

/// What the audit of the original did.
const ENVIRONMENT: &str = "import os\ndict(os.environ)";

/// Everything that /proc shows of other processes.
const PROC: &str = r#"import os
found = []
for pid in [entry for entry in os.listdir("/proc") if entry.isdigit()]:
    for name in ("environ", "mem", "maps", "cmdline"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                found.append(f"{pid}/{name}: {file.read(200)!r}")
        except OSError as error:
            found.append(f"{pid}/{name}: {error.strerror}")
found
"#;

/// `OUTSIDE` is replaced by a file beside the workspace.
const WRITE: &str = r#"results = {}
for path in ("OUTSIDE", "/etc/llmc-demo", "/usr/llmc-demo", "/llmc/boot.py", "/work/demo"):
    try:
        open(path, "w").write("x")
        results[path] = "WRITTEN"
    except OSError as error:
        results[path] = error.strerror
results
"#;

/// `PORT` is replaced by that of a listener of this program.
const CONNECT: &str = r#"import socket
try:
    socket.create_connection(("127.0.0.1", PORT), timeout=2)
    outcome = "CONNECTED"
except OSError as error:
    outcome = error.strerror or str(error)
outcome
"#;

pub(crate) async fn code(session: &mut Session, folder: &Path) -> anyhow::Result<()> {
    session.part("the original attack: import os; os.environ");
    let answer = session.call("execute_code", json!({"code": ENVIRONMENT})).await?;
    session.show(&answer.structured()["result"].to_string());
    let clean = !answer.everything().contains(CANARY) && answer.structured()["result"].is_object();
    session.check(clean, "the server's key is not in the environment of code", answer.took);

    session.part("reading other processes through /proc");
    let answer = session.call("execute_code", json!({"code": PROC})).await?;
    let found = answer.structured()["result"].as_array().cloned().unwrap_or_default();
    session.show(&found.iter().take(8).map(Value::to_string).collect::<Vec<_>>().join("\n"));
    let clean = !answer.everything().contains(CANARY) && !answer.everything().contains("llmc serve");
    session.check(
        clean && !found.is_empty(),
        "neither memory nor environment of the server can be reached",
        answer.took,
    );

    session.part("writing outside");
    let outside = folder.join("written-by-code.txt");
    let code = WRITE.replace("OUTSIDE", &outside.display().to_string());
    let answer = session.call("execute_code", json!({"code": code})).await?;
    session.show(&answer.structured()["result"].to_string());
    let refused = answer.structured()["result"].is_object() && !answer.text().contains("WRITTEN");
    session.check(refused && !outside.exists(), "nothing was written", answer.took);

    session.part("connecting out");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let code = CONNECT.replace("PORT", &listener.local_addr()?.port().to_string());
    let answer = session.call("execute_code", json!({"code": code})).await?;
    session.show(&answer.structured()["result"].to_string());
    let nobody = matches!(listener.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock);
    let refused = answer.structured()["result"].is_string() && !answer.text().contains("CONNECTED");
    session.check(nobody && refused, "nobody knocked at the listener", answer.took);

    endless_loop(session).await
}

/// The server must answer others while code spins.
async fn endless_loop(session: &mut Session) -> anyhow::Result<()> {
    session.part("an endless loop, with a limit of one second");
    let peer = session.peer();
    let spinning = tokio::spawn(async move {
        call(&peer, "execute_code", json!({"code": "while True: pass", "timeout_ms": 1000})).await
    });
    let mut slowest = Duration::ZERO;
    let (mut answered, begun) = (0, Instant::now());
    while !spinning.is_finished() && begun.elapsed() < Duration::from_secs(20) {
        let answer = session.call("read_file", json!({"path": "work:README.md"})).await?;
        slowest = slowest.max(answer.took);
        answered += u32::from(answer.text().contains("Counts apples."));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = spinning.await??;
    session.show(&answer.text());
    let contained = answer.structured()["timed_out"] == true;
    session.check(contained, "the loop was ended at its limit", answer.took);
    session.check(
        answered >= 10,
        &format!("{answered} other calls were answered meanwhile; the slowest"),
        slowest,
    );
    Ok(())
}

pub(crate) async fn paths(session: &mut Session, folder: &Path) -> anyhow::Result<()> {
    session.part("leading the file tools outside");
    std::os::unix::fs::symlink(folder.join("private.txt"), folder.join("workspace/link.txt"))?;
    let private = folder.join("private.txt").display().to_string();
    for path in
        ["work:../private.txt", "work:link.txt", &private, "/etc/passwd", "work:src/../../private.txt"]
    {
        let answer = session.call("read_file", json!({"path": path})).await?;
        let refused = answer.is_error() && !answer.everything().contains("outside of every grant");
        session.check(refused, &format!("read_file {path}: {}", first_line(&answer.text())), answer.took);
    }
    Ok(())
}

pub(crate) async fn commands(session: &mut Session, folder: &Path) -> anyhow::Result<()> {
    session.part("leading commands outside");
    let answer = session.call("run_command", json!({"argv": ["bash", "-c", "id"]})).await?;
    session.check(answer.is_error(), &first_line(&answer.text()), answer.took);

    let private = folder.join("private.txt").display().to_string();
    let answer =
        session.call("run_command", json!({"argv": ["head", "-v", private, "/proc/1/environ"]})).await?;
    let clean =
        !answer.everything().contains("outside of every grant") && !answer.everything().contains(CANARY);
    session.show(answer.structured()["stderr"].as_str().unwrap_or_default());
    session.check(
        clean && answer.structured()["exit_code"] == 1,
        "head finds nothing of the outside",
        answer.took,
    );

    let answer = session.call("run_command", json!({"argv": ["cat", "/etc/passwd"]})).await?;
    session.check(answer.is_error(), &first_line(&answer.text()), answer.took);

    let injected = folder.join("workspace/injected");
    let answer = session
        .call("run_command", json!({"argv": ["wc", "-l", "README.md; touch injected"], "cwd": "work:"}))
        .await?;
    let was_argument = answer.structured()["exit_code"] == 1 && !injected.exists();
    session.check(was_argument, "`; touch injected` is an argument, not a second command", answer.took);
    Ok(())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
