//! What Python asks the system for: lines of input, the end, the time. There are no files and no environment.

use std::time::{SystemTime, UNIX_EPOCH};

use monty_types::{
    ExcType, ExtFunctionResult, MontyDate, MontyDateTime, MontyException, MontyObject, MontyTimeZone,
    OsFunctionCall,
};

/// Built-in functions of Python that are answered here.
pub(super) const FUNCTIONS: [&str; 3] = ["input", "exit", "quit"];

const SECONDS_A_DAY: i64 = 86_400;

/// Calls one of [`FUNCTIONS`].
pub(super) fn call(
    name: &str,
    args: &[MontyObject],
    input: &str,
    lines_taken: &mut usize,
) -> ExtFunctionResult {
    if name != "input" {
        let code = args.first().filter(|code| !matches!(code, MontyObject::None)).map(ToString::to_string);
        return MontyException::new(ExcType::SystemExit, code).into();
    }
    let line = input.lines().nth(*lines_taken);
    *lines_taken += 1;
    match line {
        Some(line) => MontyObject::String(line.to_owned()).into(),
        None => raise(ExcType::RuntimeError, "end of the input when reading a line"),
    }
}

/// Answers a question to the operating system.
pub(super) fn answer(call: OsFunctionCall) -> ExtFunctionResult {
    match call {
        OsFunctionCall::DateToday => {
            let MontyDateTime { year, month, day, .. } = date_time(now().0, 0, None);
            MontyObject::Date(MontyDate { year, month, day }).into()
        }
        OsFunctionCall::DateTimeNow(zone) => {
            let (seconds, micros) = now();
            MontyObject::DateTime(date_time(seconds, micros, zone)).into()
        }
        OsFunctionCall::Getenv(args) => args.default.into(),
        OsFunctionCall::GetEnviron => MontyObject::dict(Vec::new()).into(),
        other => {
            let message = format!(
                "`{}`: there are no files in the embedded Python; read and write them with the tools of `llmc`",
                other.name()
            );
            raise(ExcType::PermissionError, &message)
        }
    }
}

fn raise(kind: ExcType, message: &str) -> ExtFunctionResult {
    MontyException::new(kind, Some(message.to_owned())).into()
}

/// Seconds since 1970 and the rest in microseconds.
fn now() -> (i64, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(now.as_secs()).unwrap_or(0), now.subsec_micros())
}

/// The time in a zone; without one, in UTC: there is no other local time here.
fn date_time(seconds: i64, microsecond: u32, zone: Option<MontyTimeZone>) -> MontyDateTime {
    let offset_seconds = zone.as_ref().map(|zone| zone.offset_seconds);
    let seconds = seconds + i64::from(offset_seconds.unwrap_or(0));
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_A_DAY));
    let second_of_day = seconds.rem_euclid(SECONDS_A_DAY);
    let part = |value: i64| u8::try_from(value).unwrap_or(0);
    MontyDateTime {
        year,
        month,
        day,
        hour: part(second_of_day / 3600),
        minute: part(second_of_day / 60 % 60),
        second: part(second_of_day % 60),
        microsecond,
        offset_seconds,
        timezone_name: zone.and_then(|zone| zone.name),
    }
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar. Years begin in March here, so
/// that the leap day comes last: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn civil(days: i64) -> (i32, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (
        i32::try_from(year).unwrap_or(i32::MAX),
        u8::try_from(month).unwrap_or(1),
        u8::try_from(day).unwrap_or(1),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in
            [(0, (1970, 1, 1)), (-1, (1969, 12, 31)), (19_782, (2024, 2, 29)), (11_016, (2000, 2, 29))]
        {
            assert_eq!(civil(days), date);
        }
        let zone = MontyTimeZone { offset_seconds: 3600, name: None };
        let time = date_time(86_399, 5, Some(zone));
        assert_eq!((time.day, time.hour, time.minute, time.second, time.microsecond), (2, 0, 59, 59, 5));
    }
}
