//! The wall clock that servers see.
//!
//! The kernel has one for all namespaces, and the machine's is left alone. `faketime` puts a library before that of C,
//! which tells a program another time; what a server starts has an environment of its own and sees the true one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::dice::Dice;

/// Where the clock of servers may stand, in seconds beside the true time.
const PLACES: [i64; 6] = [-40 * DAY, -DAY, -HOUR, HOUR, DAY, 40 * DAY];
const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Servers look where their clock stands when this much time has passed.
const LOOK_SECONDS: &str = "1";

/// The clock of all servers.
pub(super) struct Clock {
    /// What programs load first.
    library: String,
    /// Says where the clock stands.
    file: PathBuf,
}

impl Clock {
    /// One that stands right, with its file there; none where `faketime` is not installed.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn new(file: PathBuf) -> Result<Option<Self>> {
        let Some(library) = library() else { return Ok(None) };
        let clock = Self { library, file };
        clock.set(0)?;
        Ok(Some(clock))
    }

    /// A program that goes by this clock. The clock that only goes forward, and times of files, stay as they are.
    pub(super) fn surround(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_CACHE_DURATION", LOOK_SECONDS);
        for switch in ["FAKETIME_DONT_FAKE_MONOTONIC", "FAKETIME_DISABLE_SHM", "NO_FAKE_STAT"] {
            command.env(switch, "1");
        }
    }

    /// Moves it to another place, far away.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn jump(&self, dice: &mut Dice) -> Result<()> {
        self.set(dice.one_of(&PLACES).copied().context("a clock has places")?)
    }

    /// Puts it right again.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub(super) fn put_right(&self) -> Result<()> {
        self.set(0)
    }

    fn set(&self, seconds: i64) -> Result<()> {
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(fs::rename(new, &self.file)?)
    }
}

/// What `faketime` has programs load that use threads.
fn library() -> Option<String> {
    let output = Command::new("faketime").args(["-m", "+1 day", "env"]).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    said.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")).map(str::to_owned)
}

/// How often times that were written one after the other are more than half an hour apart, in milliseconds.
pub(super) fn jumps(times: impl IntoIterator<Item = i64>) -> usize {
    let times: Vec<i64> = times.into_iter().collect();
    times.windows(2).filter(|two| (two[1] - two[0]).abs() > HOUR / 2 * 1_000).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_seen_in_both_directions() {
        let hour = HOUR * 1_000;
        assert_eq!(jumps([0, 5, 10, hour, hour + 5, 20, 25]), 2);
        assert_eq!(jumps([]), 0);
    }

    #[test]
    fn a_program_goes_by_the_clock() {
        let file = std::env::temp_dir().join(format!("llmc-chaos-clock-{}", std::process::id()));
        let Some(clock) = Clock::new(file.clone()).unwrap() else {
            println!("NOT TESTED without `faketime`: jumps of the wall clock");
            return;
        };
        let seconds = || {
            let mut date = Command::new("date");
            clock.surround(date.arg("+%s"));
            let said = date.output().unwrap().stdout;
            String::from_utf8(said).unwrap().trim().parse::<i64>().unwrap()
        };
        let before = seconds();
        clock.set(DAY).unwrap();
        assert!((seconds() - before - DAY).abs() < HOUR);
        clock.put_right().unwrap();
        assert!((seconds() - before).abs() < HOUR);
        fs::remove_file(file).unwrap();
    }
}
