//! Several servers with one key, one file of tokens, one audit and one shared state, and nginx in front of them.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::redis::Redis;
use crate::http::{Http, Place};
use crate::processes::{Process, descendants};

/// Longest wait for anything that should happen at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Connections that a server takes, and nginx: more than are made.
const CONNECTIONS: u64 = 4_096;

/// Owns nothing; nginx runs as it if root starts this.
pub(super) const NOBODY: u32 = 61_999;

/// The servers, and the folder that they share.
pub(super) struct Fleet {
    folder: TempDir,
    stage: PathBuf,
    pub(super) replicas: Vec<Replica>,
    /// Good at all servers.
    pub(super) token: String,
    /// What they share, if it is no file.
    pub(super) redis: Option<Redis>,
}

/// One server.
pub(super) struct Replica {
    child: Child,
    pub(super) address: SocketAddr,
}

impl Fleet {
    pub(super) fn start(stage: &Path, count: usize, redis: Option<Redis>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("llmc-replicas-").tempdir()?;
        for name in ["work", "etc"] {
            fs::create_dir(folder.path().join(name))?;
        }
        let key = folder.path().join("etc/key");
        // Good for this run alone: nobody else reaches these servers, and they end with it.
        fs::write(&key, format!("{:064x}", std::process::id()))?;
        fs::set_permissions(&key, Permissions::from_mode(0o600))?;
        let (stage, replicas, token) = (stage.to_owned(), Vec::new(), String::new());
        let mut fleet = Self { folder, stage, replicas, token, redis };
        fs::write(fleet.config(), fleet.text())?;
        fleet.token = fleet.run(&["token", "create", "one"])?;
        for number in 0..count {
            let replica = fleet.launch(number, "127.0.0.1:0")?;
            fleet.replicas.push(replica);
        }
        Ok(fleet)
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.path().join("etc/llmc.toml")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn text(&self) -> String {
        let work = self.work().display().to_string();
        let shared =
            self.redis.as_ref().map_or_else(|| "shared_state = 'shared.db'".to_owned(), Redis::settings);
        // Lines of JSON where nothing else is on this machine alone, as packaging/kubernetes has it; so both forms are tried.
        let audit = if self.redis.is_some() { "audit.jsonl" } else { "audit.db" };
        let secrets = self.redis.as_ref().map_or_else(String::new, Redis::secrets);
        format!(
            "[server]\nstate_key = 'key'\n{shared}\n\
             http = {{ listen = '127.0.0.1:0', tokens = 'tokens.json', requests_per_minute = 10000000, \
             connections = {CONNECTIONS} }}\n\
             [audit]\npath = '{audit}'\ndurability = 'call'\n\
             [policy]\nconfirm_tools = {{ delete_path = 'always' }}\n\
             [roots]\nwork = {{ path = '{work}', access = 'rw' }}\n\
             [plugins.hello]\nlibrary = 'hello'\n\
             [plugins.fs]\nlibrary = 'llmc_tools_fs'\ngrants = {{ roots = ['work'] }}\n\
             [plugins.cmd]\nlibrary = 'llmc_tools_cmd'\n\
             grants = {{ roots = ['work'], run = {{ profile = 'workspace', programs = ['sh'] }} }}\n\
             {secrets}"
        )
    }

    /// Starts a server at an address and waits until it is ready.
    fn launch(&self, number: usize, address: &str) -> Result<Replica> {
        let log = self.folder.path().join(format!("etc/log{number}"));
        let mut command = self.llmc(&["serve", "--no-stdio", "--http", address]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let mut child = command.spawn()?;
        let begun = Instant::now();
        let address = loop {
            let said = fs::read_to_string(&log)?;
            let place = said.split("http://").nth(1).and_then(|rest| rest.split("/mcp").next());
            if let Some(address) = place.and_then(|place| place.parse().ok()) {
                break address;
            }
            let is_over = child.try_wait()?.is_some() || begun.elapsed() > PATIENCE;
            ensure!(!is_over, "a server does not start: {said}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let replica = Replica { child, address };
        while !replica.client(None).get("/readyz").is_ok_and(|reply| reply.status == 200) {
            ensure!(begun.elapsed() < PATIENCE, "a server does not get ready: {}", fs::read_to_string(&log)?);
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(replica)
    }

    fn llmc(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.stage.join("bin/llmc"));
        command.args(args).arg("--config").arg(self.config());
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.folder.path());
        command.current_dir(self.folder.path());
        command
    }

    /// Runs `llmc ARGS` to its end and returns what it printed.
    pub(super) fn run(&self, args: &[&str]) -> Result<String> {
        let output = self.llmc(args).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        let problem = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
        ensure!(output.status.success(), "`llmc {}`: {said} {problem}", args.join(" "));
        Ok(said)
    }

    /// Kills a server, and tells when nothing of it could take a request any more.
    pub(super) fn kill(&mut self, number: usize) -> Result<(Instant, Vec<Process>)> {
        let replica = &mut self.replicas[number];
        let below = descendants(replica.child.id());
        replica.child.kill()?;
        replica.child.wait()?;
        Ok((Instant::now(), below))
    }

    /// Starts a server that was killed again, where it was.
    pub(super) fn revive(&mut self, number: usize) -> Result<()> {
        let address = self.replicas[number].address.to_string();
        self.replicas[number] = self.launch(number, &address)?;
        Ok(())
    }

    /// Ends all servers; tells which did not end by themselves, and what is left of any.
    pub(super) fn end(&mut self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for replica in &mut self.replicas {
            let below = descendants(replica.child.id());
            if let Some(process) = Process::of(replica.child.id()) {
                process.signal(rustix::process::Signal::TERM);
            }
            let begun = Instant::now();
            while replica.child.try_wait()?.is_none() && begun.elapsed() < PATIENCE {
                std::thread::sleep(Duration::from_millis(20));
            }
            if replica.child.try_wait()?.is_none() {
                left.push(format!("the server at {} did not end", replica.address));
                replica.child.kill()?;
                replica.child.wait()?;
            }
            left.extend(gone(&below));
        }
        Ok(left)
    }
}

/// Waits until processes are gone, and tells which are not.
pub(super) fn gone(processes: &[Process]) -> Vec<String> {
    let begun = Instant::now();
    while processes.iter().any(Process::lives) && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(20));
    }
    let left = processes.iter().filter(|process| process.lives());
    left.map(|process| format!("{} ({})", process.name, process.pid)).collect()
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for replica in &mut self.replicas {
            // Ended ones say so; nothing more can be done about others.
            let _ = replica.child.kill();
            let _ = replica.child.wait();
        }
    }
}

impl Replica {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A client that comes to this server directly.
    pub(super) fn client(&self, token: Option<&str>) -> Http {
        Http::new(Place::Loopback(self.address), token.map(str::to_owned), PATIENCE)
    }
}

/// A balancer, with a port for each number of servers behind it.
pub(super) struct Nginx {
    child: Child,
    ports: Vec<SocketAddr>,
    _folder: TempDir,
}

impl Nginx {
    /// Where it is, if it is installed.
    pub(super) fn find() -> Option<PathBuf> {
        ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx"]
            .into_iter()
            .map(PathBuf::from)
            .find(|file| file.exists())
    }

    /// Starts it in a folder of its own, as a user without rights.
    pub(super) fn start(program: &Path, servers: &[SocketAddr]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("llmc-nginx-").tempdir()?;
        let free: Vec<TcpListener> =
            servers.iter().map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
        let ports: Vec<SocketAddr> = free.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
        drop(free);
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration(folder.path(), &ports, servers))?;
        let mut command = Command::new(program);
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-e", "error.log"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(folder.path().join("said"))?);
        if rustix::process::getuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = command.spawn().context("failed to start nginx")?;
        let mut nginx = Self { child, ports, _folder: folder };
        let begun = Instant::now();
        while !nginx.client(1, None).get("/healthz").is_ok_and(|reply| reply.status == 200) {
            let is_over = nginx.child.try_wait()?.is_some() || begun.elapsed() > PATIENCE;
            let said = fs::read_to_string(nginx._folder.path().join("error.log")).unwrap_or_default();
            ensure!(!is_over, "nginx does not serve: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(nginx)
    }

    /// A client of so many servers, through the balancer.
    pub(super) fn client(&self, servers: usize, token: Option<&str>) -> Http {
        Http::new(Place::Loopback(self.ports[servers - 1]), token.map(str::to_owned), PATIENCE)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGQUIT lets its worker end, too; a killed master would leave it.
        if let Some(process) = Process::of(self.child.id()) {
            process.signal(rustix::process::Signal::QUIT);
        }
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What docs/scaling.md shows, with a port for the first server, for the first two, and so on.
fn configuration(folder: &Path, ports: &[SocketAddr], servers: &[SocketAddr]) -> String {
    let folder = folder.display();
    let mut text = format!(
        "daemon off;\nworker_processes 1;\npid {folder}/pid;\nerror_log {folder}/error.log;\n\
         events {{ worker_connections {CONNECTIONS}; }}\nhttp {{\naccess_log off;\n"
    );
    for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        text += &format!("{what}_temp_path {folder}/{what};\n");
    }
    for (port, count) in ports.iter().zip(1..) {
        let behind = servers
            .iter()
            .take(count)
            .map(|server| format!("server {server} max_fails=1 fail_timeout=1s;\n"));
        let behind: String = behind.collect();
        text += &format!(
            "upstream llmc{count} {{\n{behind}keepalive 32;\n}}\nserver {{\nlisten {port};\nclient_max_body_size 4m;\n\
             location / {{\nproxy_pass http://llmc{count};\nproxy_http_version 1.1;\nproxy_set_header Connection '';\n\
             proxy_set_header Host localhost;\nproxy_buffering off;\nproxy_read_timeout 130s;\n\
             proxy_next_upstream error timeout;\nadd_header X-Upstream $upstream_addr always;\n}}\n}}\n"
        );
    }
    text + "}\n"
}
