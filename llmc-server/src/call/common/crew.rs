//! Connections to a Redis database, each held by a thread. Who asks waits for a bounded time, whatever names, networks
//! and the database do meanwhile; a thread that hangs holds up nobody but the next who needs it.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use redis::{Client, Connection, ErrorKind, RedisError, RedisResult};

/// How long an answer is waited for, connecting included; also the longest wait for a connection or a single read.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// Connections at most.
const THREADS: usize = 4;

/// Questions that wait for a connection, at most.
const MAX_WAITING: usize = 64;

/// Longest code of an error that is shown, in bytes.
const MAX_CODE_BYTES: usize = 32;

type Job = Box<dyn FnOnce(&mut Link) + Send>;

/// The threads; they end with it.
pub(super) struct Crew {
    jobs: SyncSender<Job>,
}

/// A connection, if one is open.
struct Link {
    client: Client,
    connection: Option<Connection>,
}

/// Whether something is asked for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    First,
    /// The first one may have been carried out.
    Second,
}

impl Crew {
    pub(super) fn start(client: &Client) -> io::Result<Self> {
        let (sender, jobs) = sync_channel::<Job>(MAX_WAITING);
        let jobs = Arc::new(Mutex::new(jobs));
        for _ in 0..THREADS {
            let (jobs, link) = (Arc::clone(&jobs), Link { client: client.clone(), connection: None });
            thread::Builder::new().name("shared-state".into()).spawn(move || link.work(&jobs))?;
        }
        Ok(Self { jobs: sender })
    }

    /// Asks something; twice if the connection ends before the answer, as one does that was closed while nobody used it.
    ///
    /// # Errors
    ///
    /// When there is no answer in time, or a bad one. Then it may have been carried out all the same.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        mut question: impl FnMut(&mut Connection, Attempt) -> RedisResult<T> + Send + 'static,
    ) -> io::Result<T> {
        let until = Instant::now() + PATIENCE;
        let (sender, answer) = sync_channel(1);
        let job = move |link: &mut Link| {
            // Nobody waits any more for what comes to its turn too late.
            if Instant::now() < until {
                let _ = sender.send(link.ask(&mut question));
            }
        };
        let busy = |_| io::Error::other("too many calls wait for the database");
        self.jobs.try_send(Box::new(job)).map_err(busy)?;
        let late =
            |_| io::Error::other(format!("the database does not answer within {} s", PATIENCE.as_secs()));
        answer.recv_timeout(PATIENCE).map_err(late)?.map_err(|error| io::Error::other(told(error)))
    }
}

impl Link {
    fn work(mut self, jobs: &Mutex<Receiver<Job>>) {
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(job) = next else { return };
            job(&mut self);
        }
    }

    fn ask<T>(
        &mut self,
        question: &mut dyn FnMut(&mut Connection, Attempt) -> RedisResult<T>,
    ) -> RedisResult<T> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let answer = match question(&mut connection, Attempt::First) {
            Err(error) if error.is_connection_dropped() => {
                connection = self.connect()?;
                question(&mut connection, Attempt::Second)
            }
            answer => answer,
        };
        // After a bad answer the next one could be that to an earlier question, or come from a database that takes no
        // writes any more.
        self.connection = answer.is_ok().then_some(connection);
        answer
    }

    fn connect(&self) -> RedisResult<Connection> {
        let mut connection = self.client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        check(&redis::cmd("INFO").query::<String>(&mut connection)?)?;
        Ok(connection)
    }
}

/// A database that may forget used states makes them good again.
fn check(info: &str) -> RedisResult<()> {
    let says =
        |name: &str| info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'));
    if says("role").is_some_and(|role| role != "master") {
        return Err(unfit("it is a replica, which takes no writes; name the primary"));
    }
    if says("maxmemory") != Some("0") && says("maxmemory_policy") != Some("noeviction") {
        return Err(unfit(
            "it may forget used consents when its memory is full; set its `maxmemory-policy` to `noeviction`",
        ));
    }
    Ok(())
}

fn unfit(what: &'static str) -> RedisError {
    (ErrorKind::InvalidClientConfig, "unfit", what.to_owned()).into()
}

/// The answer is none that Redis gives.
pub(super) fn odd() -> RedisError {
    (ErrorKind::UnexpectedReturnType, "odd").into()
}

/// What went wrong, without a word of the database's own: it may repeat what it was told, the password included.
fn told(error: RedisError) -> String {
    match error.kind() {
        _ if error.is_timeout() => "the database does not answer in time".into(),
        // Of this side alone.
        ErrorKind::InvalidClientConfig => error.detail().unwrap_or("it cannot be connected to").into(),
        ErrorKind::Io => format!("the database cannot be reached: {error}"),
        ErrorKind::AuthenticationFailed => {
            "the database refuses the user or the password (`server.shared_state_password`)".into()
        }
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
            "the database answers with something else than was asked for".into()
        }
        _ => refusal(&code(error).unwrap_or_default()),
    }
}

/// Of the error itself, or of the first one of several commands.
fn code(error: RedisError) -> Option<String> {
    match error.code() {
        Some(code) => Some(code.to_owned()),
        None => Some(error.into_server_errors()?.first()?.1.code().to_owned()),
    }
}

fn refusal(code: &str) -> String {
    let fits =
        |code: &&str| code.len() <= MAX_CODE_BYTES && code.bytes().all(|byte| byte.is_ascii_uppercase());
    match Some(code).filter(fits).unwrap_or_default() {
        "NOAUTH" => "the database asks for a password (`server.shared_state_password`)".into(),
        "NOPERM" => "the database does not permit its user what llmc needs (docs/scaling.md names it)".into(),
        "OOM" => "the memory of the database is full".into(),
        "" => "the database refuses".into(),
        code => format!("the database refuses with `{code}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_forgets_or_takes_no_writes_is_refused() {
        let info = |role: &str, memory: &str, policy: &str| {
            check(&format!("# Server\r\nrole:{role}\r\nmaxmemory:{memory}\r\nmaxmemory_policy:{policy}\r\n"))
        };
        assert!(info("master", "0", "allkeys-lru").is_ok(), "without a limit nothing is forgotten");
        assert!(info("master", "1000", "noeviction").is_ok());
        let error = told(info("master", "1000", "volatile-ttl").unwrap_err());
        assert!(error.contains("set its `maxmemory-policy` to `noeviction`"), "{error}");
        assert!(told(info("slave", "0", "noeviction").unwrap_err()).contains("replica"));
        assert!(check("").is_err(), "who does not say it may forget");
    }

    #[test]
    fn nothing_that_a_database_says_is_repeated() {
        assert_eq!(refusal("READONLY"), "the database refuses with `READONLY`");
        for code in ["hush", "A B", "", &"A".repeat(99)] {
            assert_eq!(refusal(code), "the database refuses");
        }
        let detail = "with args beginning with: 'hush-hush'".to_owned();
        for kind in
            [ErrorKind::AuthenticationFailed, ErrorKind::Extension, ErrorKind::Client, ErrorKind::Parse]
        {
            let error = RedisError::from((kind, "x", detail.clone()));
            let told = told(error);
            assert!(!told.contains("hush"), "{kind:?}: {told}");
        }
    }
}
