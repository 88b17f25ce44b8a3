//! Times of files as RFC 3339 in UTC.

use rustix::fs::StatxTimestamp;

const SECONDS_A_DAY: i64 = 24 * 60 * 60;

/// `2026-08-02T12:34:56.123456789Z`.
pub(crate) fn rfc3339(time: StatxTimestamp) -> String {
    format(time.tv_sec, time.tv_nsec)
}

fn format(seconds: i64, nanoseconds: u32) -> String {
    let (year, month, day) = date(seconds.div_euclid(SECONDS_A_DAY));
    let second = seconds.rem_euclid(SECONDS_A_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = if nanoseconds == 0 { String::new() } else { format!(".{nanoseconds:09}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// The civil date of a day counted from 1970-01-01, by Howard Hinnant's `civil_from_days`
/// (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so a leap day comes last.
fn date(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468; // counted from 0000-03-01
    let (era, day) = (day.div_euclid(146_097), day.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (seconds, nanoseconds, expected) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (951_782_399, 0, "2000-02-28T23:59:59Z"),
            (951_782_400, 5, "2000-02-29T00:00:00.000000005Z"),
            (951_868_800, 0, "2000-03-01T00:00:00Z"),
            (1_709_251_199, 999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
            (-2_208_988_800, 0, "1900-01-01T00:00:00Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(format(seconds, nanoseconds), expected);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut before = date(-1);
        for day in 0..146_097 {
            let today = date(day);
            let (year, month, number) = before;
            let next = [(year, month, number + 1), (year, month + 1, 1), (year + 1, 1, 1)];
            assert!(next.contains(&today), "{before:?} before {today:?}");
            before = today;
        }
        assert_eq!(before, (2369, 12, 31));
    }
}
