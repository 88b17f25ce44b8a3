//! Small texts: who, when, and what a stranger wrote.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::files;

/// User databases are small; a larger file is not searched.
const MAX_PASSWD_BYTES: u64 = 16 << 20;

/// The user who runs this program, such as `ada (uid 1000)`.
pub(crate) fn who() -> String {
    let uid = rustix::process::getuid().as_raw();
    let users = files::read_text("/etc/passwd".as_ref(), MAX_PASSWD_BYTES).unwrap_or_default();
    let name = name_of(&users, uid).unwrap_or("unknown");
    format!("{name} (uid {uid})")
}

/// The name in a line such as `ada:x:1000:1000::/home/ada:/bin/sh`, see passwd(5).
fn name_of(users: &str, uid: u32) -> Option<&str> {
    let is_wanted = |fields: &Vec<&str>| fields.get(2).and_then(|field| field.parse().ok()) == Some(uid);
    users.lines().map(|line| line.split(':').collect()).find(is_wanted).map(|fields: Vec<&str>| fields[0])
}

/// The time in UTC, such as `2026-11-23T04:05:06Z`.
pub(crate) fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    utc(seconds)
}

/// Seconds since 1970 as a date. The days are counted from 0000-03-01, so that a leap day is the last of its year:
/// <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>.
fn utc(seconds: u64) -> String {
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What a plugin wrote, safe to print: characters that a terminal would obey or not show are spelled out.
pub(crate) fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        if char != '\n' && (char.is_control() || super::scan::is_hidden(char)) {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(char));
        } else {
            safe.push(char);
        }
    }
    safe
}

/// As [`shown`], for what should be one line and might be more, to look like something else.
pub(crate) fn line(text: &str) -> String {
    shown(text).replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_406_706), "2026-11-23T04:05:06Z");
        assert_eq!(utc(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn users_have_names() {
        let users = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\nbroken\n";
        assert_eq!(name_of(users, 1000), Some("ada"));
        assert_eq!(name_of(users, 7), None);
        assert!(who().contains("(uid "));
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        assert_eq!(shown("a\u{1b}[2Jb\u{202e}c\u{200b}\n"), "a\\u{1b}[2Jb\\u{202e}c\\u{200b}\n");
        assert_eq!(shown("Grüße, 世界 👋"), "Grüße, 世界 👋");
    }
}
