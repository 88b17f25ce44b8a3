//! Sessions of browsers.
//!
//! A session takes two texts: a cookie that pages cannot read (`HttpOnly`, `SameSite=Strict`) and a key that only the
//! page has and sends as a header. The cookie alone would not do: cookies belong to a host whatever the port, so every
//! other server on `localhost` that the browser visits is sent it. The key alone would not do either: whatever reads the
//! page's storage has it. A form or a link of another site can send neither header nor key.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::secret_text::{digest, new};

/// Sessions at the same time; the one that was idle longest makes room.
const MAX_SESSIONS: usize = 16;

/// Without a request for this long a session ends.
const IDLE: Duration = Duration::from_mins(30);

/// And at this age in any case.
pub(crate) const LIFETIME: Duration = Duration::from_hours(12);

/// Who looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Viewer {
    pub(crate) number: u64,
    /// For the audit and the page.
    pub(crate) name: Arc<str>,
    /// Origin of the token that opened the session; a session of a link has none.
    pub(crate) token: Option<Arc<str>>,
    /// When an access token that opened it expires, in milliseconds since 1970.
    pub(crate) until_ms: Option<u64>,
}

/// The two texts of a new session.
pub(crate) struct Opened {
    pub(crate) cookie: String,
    pub(crate) key: String,
}

/// All sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    sessions: Vec<Session>,
}

struct Session {
    cookie: [u8; 32],
    key: [u8; 32],
    viewer: Viewer,
    since: Instant,
    used: Instant,
}

impl Sessions {
    /// Opens a session.
    ///
    /// # Errors
    ///
    /// When the kernel gives no random bytes.
    pub(crate) fn open(
        &self,
        name: &str,
        token: Option<Arc<str>>,
        until_ms: Option<u64>,
    ) -> std::io::Result<Opened> {
        let opened = Opened { cookie: new()?, key: new()? };
        let now = Instant::now();
        let mut table = self.table();
        table.next += 1;
        let viewer = Viewer { number: table.next, name: name.into(), token, until_ms };
        let session = Session {
            cookie: digest(&opened.cookie),
            key: digest(&opened.key),
            viewer,
            since: now,
            used: now,
        };
        if table.sessions.len() >= MAX_SESSIONS {
            table.sessions.sort_by_key(|session| session.used);
            table.sessions.remove(0);
        }
        table.sessions.push(session);
        Ok(opened)
    }

    /// Whose session it is, if it is one.
    pub(crate) fn find(&self, cookie: &str, key: &str) -> Option<Viewer> {
        let (cookie, key) = (digest(cookie), digest(key));
        let mut table = self.table();
        let found =
            table.sessions.iter_mut().find(|session| session.cookie == cookie && session.key == key)?;
        found.used = Instant::now();
        Some(found.viewer.clone())
    }

    /// Whether a session has not ended.
    pub(crate) fn lasts(&self, number: u64) -> bool {
        self.table().sessions.iter().any(|session| session.viewer.number == number)
    }

    pub(crate) fn end(&self, number: u64) {
        self.table().sessions.retain(|session| session.viewer.number != number);
    }

    /// Those that are neither idle nor old.
    fn table(&self) -> MutexGuard<'_, Table> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.sessions.retain(|session| session.used.elapsed() < IDLE && session.since.elapsed() < LIFETIME);
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_takes_both_texts() {
        let sessions = Sessions::default();
        let (mine, other) =
            (sessions.open("a", None, None).unwrap(), sessions.open("b", None, None).unwrap());
        let viewer = sessions.find(&mine.cookie, &mine.key).unwrap();
        assert_eq!(&*viewer.name, "a");
        for (cookie, key) in [
            (&mine.cookie, &other.key),
            (&other.cookie, &mine.key),
            (&mine.key, &mine.cookie),
            (&mine.cookie, &String::new()),
            (&String::new(), &mine.key),
        ] {
            assert_eq!(sessions.find(cookie, key), None);
        }
        sessions.end(viewer.number);
        assert_eq!(sessions.find(&mine.cookie, &mine.key), None);
        assert!(!sessions.lasts(viewer.number));
        assert!(sessions.find(&other.cookie, &other.key).is_some());
    }

    #[test]
    fn the_one_that_was_idle_longest_makes_room() {
        let sessions = Sessions::default();
        let first = sessions.open("first", None, None).unwrap();
        let second = sessions.open("second", None, None).unwrap();
        assert!(sessions.find(&first.cookie, &first.key).is_some(), "used after the second was opened");
        for _ in 2..=MAX_SESSIONS {
            sessions.open("more", None, None).unwrap();
        }
        assert!(sessions.find(&first.cookie, &first.key).is_some());
        assert!(sessions.find(&second.cookie, &second.key).is_none());
    }
}
