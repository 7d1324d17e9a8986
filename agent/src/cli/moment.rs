//! A moment as people write it: `2h`, `14:03`, `2026-11-20 14:03`. In UTC, as all that heartsay prints.

use std::time::Duration;

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Reads a moment, as seen from now.
///
/// # Errors
/// It is none; says what is accepted.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    seen_from(text, Timestamp::now())
}

fn seen_from(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = humantime::parse_duration(text.strip_prefix('-').unwrap_or(text));
    let found = match ago {
        Ok(ago) => before(now, ago),
        // A colon alone: digits without one are a time to the library too.
        Err(_) if !text.contains('-') && text.contains(':') => {
            text.parse().ok().and_then(|time| last(time, now))
        }
        Err(_) => text
            .parse::<DateTime>()
            .ok()
            .and_then(|at| at.to_zoned(TimeZone::UTC).ok())
            .map(|at| at.timestamp()),
    };
    found.ok_or_else(|| format!("is no time; {ACCEPTED}"))
}

fn before(now: Timestamp, ago: Duration) -> Option<Timestamp> {
    now.checked_sub(SignedDuration::try_from(ago).ok()?).ok()
}

/// The last time that clocks showed this.
fn last(time: Time, now: Timestamp) -> Option<Timestamp> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let on = |date: jiff::civil::Date| Some(date.to_datetime(time).to_zoned(TimeZone::UTC).ok()?.timestamp());
    on(today).filter(|at| *at <= now).or_else(|| on(today.yesterday().ok()?))
}

/// For help and errors.
pub(super) const ACCEPTED: &str = "one of 10m, 2h or 3d (ago), 14:03 (the last one), 2026-11-20, 2026-11-20 14:03, 2026-11-20T14:03:00Z, now; in UTC";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_in_every_form_that_the_help_names() {
        let now = "2026-11-20T14:00:00.5Z".parse().unwrap();
        for (text, stamp) in [
            ("now", "2026-11-20T14:00:00.500000Z"),
            ("10m", "2026-11-20T13:50:00.500000Z"),
            ("-10m", "2026-11-20T13:50:00.500000Z"),
            ("1h 30m", "2026-11-20T12:30:00.500000Z"),
            ("3d", "2026-11-17T14:00:00.500000Z"),
            ("13:59", "2026-11-20T13:59:00.000000Z"),
            ("14:00:01", "2026-11-19T14:00:01.000000Z"),
            ("23:50", "2026-11-19T23:50:00.000000Z"),
            ("2026-11-20", "2026-11-20T00:00:00.000000Z"),
            ("2026-11-20 14:03", "2026-11-20T14:03:00.000000Z"),
            ("2026-11-20T14:03:09", "2026-11-20T14:03:09.000000Z"),
            ("2026-11-20T14:03:00Z", "2026-11-20T14:03:00.000000Z"),
            ("2026-11-20T14:03:00+01:00", "2026-11-20T13:03:00.000000Z"),
        ] {
            assert_eq!(seen_from(text, now).map(crate::recorder::stamp).as_deref(), Ok(stamp), "{text}");
        }
        for text in ["", "-", "yesterday", "10", "1403", "25:00", "2026-13-01", "999999999999d", "14:03Z"] {
            let error = seen_from(text, now).expect_err(text);
            assert!(error.contains("2h"), "{error}");
        }
    }
}
