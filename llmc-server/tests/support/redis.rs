//! A Redis server of one test's own: on a Unix socket, in a folder of its own, ended by its number.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for its start.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Redis {
    child: Option<Child>,
    pub(crate) folder: TempDir,
}

impl Redis {
    /// Starts one with further settings, `DIR` in them being its folder. It writes everything down at once, so that it
    /// knows when it comes back what it was told. None where none is installed, which is said loudly.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().display();
        let text = format!(
            "port 0\nunixsocket {dir}/redis.sock\nunixsocketperm 700\ndir {dir}\ndaemonize no\nsave ''\n\
             appendonly yes\nappendfsync always\nlogfile {dir}/log\n{}\n",
            settings.replace("DIR", &dir.to_string())
        );
        fs::write(folder.path().join("redis.conf"), text).unwrap();
        let mut redis = Self { child: None, folder };
        if redis.launch() {
            return Some(redis);
        }
        let _ = writeln!(
            std::io::stderr(),
            "\nNOT CHECKED: a Redis database, because no `redis-server` is installed\n"
        );
        None
    }

    /// Starts it again where it was.
    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none() && self.launch());
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// What `server.shared_state` is to say.
    pub(crate) fn address(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn launch(&mut self) -> bool {
        // The socket of one that crashed is still there.
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new("/usr/bin/redis-server");
        command.arg(self.folder.path().join("redis.conf")).env_clear().current_dir(self.folder.path());
        let said = File::create(self.folder.path().join("said")).unwrap();
        match command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said).spawn() {
            Ok(child) => self.child = Some(child),
            Err(error) if error.kind() == ErrorKind::NotFound => return false,
            Err(error) => panic!("{error}"),
        }
        let begun = Instant::now();
        while !self.answers() {
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let said = || fs::read_to_string(self.folder.path().join("said")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "redis-server does not start: {} {}", said(), log());
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Any answer will do: who has no password is told so.
    fn answers(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(self.socket()) else { return false };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = [0; 5];
        let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer));
        asked.is_ok() && (&answer == b"+PONG" || &answer == b"-NOAU")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing more can be done about one that is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
