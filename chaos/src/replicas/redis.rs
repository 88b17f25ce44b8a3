//! A Redis database on a port of loopback, with a user and a password, that can be killed and come back.

use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;

use super::fleet::{NOBODY, PATIENCE};
use crate::dice::Dice;

/// What docs/scaling.md grants a user.
const COMMANDS: &str =
    "+auth +select +info +set +get +getrange +zadd +zremrangebyscore +zrange +zrem +unlink +pexpireat";

/// The database, and the folder that it writes to.
pub(super) struct Redis {
    folder: TempDir,
    /// The password, for the servers.
    password: TempDir,
    program: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    pub(super) fn start() -> Result<Self> {
        let folders = ["/usr/bin", "/usr/local/bin", "/usr/sbin"];
        let mut programs = folders.iter().map(|folder| Path::new(folder).join("redis-server"));
        let program = programs.find(|file| file.exists());
        let program =
            program.context("redis-server is not installed; `apt-get install redis-server` brings it")?;
        let new = |prefix: &str| tempfile::Builder::new().prefix(prefix).tempdir();
        let (folder, password) = (new("llmc-redis-")?, new("llmc-secret-")?);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut redis = Self { folder, password, program, port, child: None };
        // Good for this run alone, like the servers' key. Half a secret is masked wherever it stands, so none has a half that
        // occurs by chance, such as zeros.
        let mut dice = Dice::new(u64::from(std::process::id()) << 20 | u64::from(port));
        let secret = format!("{:016x}{:016x}", dice.next(), dice.next());
        fs::write(redis.secret(), &secret)?;
        fs::set_permissions(redis.secret(), Permissions::from_mode(0o600))?;
        let dir = redis.folder.path().display();
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {dir}\nsave ''\nappendonly yes\nappendfsync always\nlogfile {dir}/log\n\
             maxmemory 1gb\nmaxmemory-policy noeviction\nuser default off\n\
             user llmc on >{secret} ~llmc:* resetchannels -@all {COMMANDS}\n"
        );
        fs::write(redis.config(), text)?;
        if rustix::process::getuid().is_root() {
            chown(redis.folder.path(), Some(NOBODY), Some(NOBODY))?;
        }
        redis.launch()?;
        Ok(redis)
    }

    fn secret(&self) -> PathBuf {
        self.password.path().join("password")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("redis.conf")
    }

    /// Keys of `[server]`.
    pub(super) fn settings(&self) -> String {
        format!("shared_state = 'redis://llmc@127.0.0.1:{}/0'\nshared_state_password = 'DATABASE'", self.port)
    }

    /// The table with its password.
    pub(super) fn secrets(&self) -> String {
        format!("[secrets]\nDATABASE = {{ file = '{}' }}\n", self.secret().display())
    }

    /// Starts it, as a user without rights.
    pub(super) fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        let said = File::create(self.folder.path().join("said"))?;
        command.arg(self.config()).env_clear().current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let child = self.child.insert(command.spawn().context("failed to start redis-server")?);
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let is_over = child.try_wait()?.is_some() || begun.elapsed() > PATIENCE;
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            ensure!(!is_over, "redis-server does not serve: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends it at once, as a crash would.
    pub(super) fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // One that is gone says so; nothing more can be done about it.
        let _ = self.kill();
    }
}
