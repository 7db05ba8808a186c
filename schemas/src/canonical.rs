//! Canonical text of instants and numbers: the forms that identifiers and hashes are made of
//! (mathematics §1, §2, §13.1).
//!
//! An instant is an `i64` of microseconds since the Unix epoch, UTC. Nothing here looks at a clock or a zone.

use std::fmt::Write as _;

const US_PER_S: i64 = 1_000_000;
const S_PER_DAY: i64 = 86_400;

/// Why a timestamp text was refused; a caller files the record either way, the variant is the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Neither `Z` nor an offset: the instant is unknown.
    #[error("timestamp without zone")]
    Naive,
    /// Not an RFC 3339 date-time, or a field out of range (leap seconds included).
    #[error("not an RFC 3339 timestamp")]
    Malformed,
}

/// `C(t)`: `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`; six fraction digits, or none when the microseconds are 0.
///
/// ```
/// use lsie_schemas::canonical::to_text;
/// assert_eq!(to_text(1_777_024_800_123_456), "2026-04-24T10:00:00.123456Z");
/// assert_eq!(to_text(0), "1970-01-01T00:00:00Z");
/// ```
///
/// A year outside 0..=9999 is written in the expanded form of ISO 8601 (sign and six digits), which
/// [`parse`] refuses: such an instant has a text, but never came from a record.
pub fn to_text(us: i64) -> String {
    let (seconds, fraction) = (us.div_euclid(US_PER_S), us.rem_euclid(US_PER_S));
    let (days, second) = (seconds.div_euclid(S_PER_DAY), seconds.rem_euclid(S_PER_DAY));
    let (year, month, day) = civil_from_days(days);
    let (h, m, s) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    // Writing into a `String` cannot fail.
    let _ = write!(text, "-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}");
    if fraction != 0 {
        let _ = write!(text, ".{fraction:06}");
    }
    text.push('Z');
    text
}

/// Reads an RFC 3339 date-time with `Z` or a numeric offset into microseconds since the epoch.
///
/// Digits beyond the sixth are cut off (never rounded into the next microsecond). Refused: a text without
/// zone, a blank instead of `T`, second 60, and anything around the timestamp.
pub fn parse(text: &str) -> Result<i64, TimestampError> {
    use TimestampError::Malformed;
    let (head, tail) = text.as_bytes().split_at_checked(19).ok_or(Malformed)?;
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if separators.iter().any(|&(at, byte)| head[at] != byte) || !matches!(head[10], b'T' | b't') {
        return Err(Malformed);
    }
    let field = |from: usize, to: usize| digits(&head[from..to]).ok_or(Malformed);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (h, m, s) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    if !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) || h > 23 || m > 59 || s > 59
    {
        return Err(Malformed);
    }
    let (fraction_us, zone) = parse_fraction(tail).ok_or(Malformed)?;
    let offset_s = parse_zone(zone)?;
    let seconds = days_from_civil(year, month, day) * S_PER_DAY + h * 3600 + m * 60 + s - offset_s;
    Ok(seconds * US_PER_S + fraction_us)
}

/// Float epoch seconds to microseconds, the microsecond part rounded half to even; `None` when the value is
/// not finite or does not fit.
///
/// ```
/// use lsie_schemas::canonical::{from_epoch_s, to_text};
/// assert_eq!(from_epoch_s(1772967420.9999995).map(to_text).as_deref(), Some("2026-03-08T10:57:01Z"));
/// ```
pub fn from_epoch_s(seconds: f64) -> Option<i64> {
    let whole = seconds.trunc();
    // Beyond it whole microseconds do not fit an `i64`.
    if !whole.is_finite() || whole.abs() >= 9.0e12 {
        return None;
    }
    let micros = ((seconds - whole) * 1e6).round_ties_even();
    Some(whole as i64 * US_PER_S + micros as i64)
}

/// Microseconds to float epoch seconds, the nearest double: the form of the JSON epoch fields.
pub fn to_epoch_s(us: i64) -> f64 {
    // Both steps are exact or correctly rounded for every instant below 2^53 µs (the year 2255).
    us as f64 / 1e6
}

/// A decimal count of epoch seconds (`1786231028.742331`, blanks around it allowed) to microseconds, exactly.
///
/// Digits beyond the sixth are cut off. `None` for anything else: signs, exponents, a comma, two points.
pub fn parse_epoch_decimal(text: &str) -> Option<i64> {
    let text = text.trim();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.len() > 12 || fraction.is_empty() {
        return None;
    }
    let seconds = digits(whole.as_bytes())?;
    let micros = micros_of(fraction.as_bytes())?;
    Some(seconds * US_PER_S + micros)
}

/// A finite double in its shortest form that reads back to the same double, always with a point or an
/// exponent: `1.0`, `0.1`, `1e-05`, `1e+16`. Not finite: `<nonfinite>` (mathematics §13.1).
pub fn float_text(value: f64) -> String {
    if !value.is_finite() {
        return "<nonfinite>".to_owned();
    }
    let scientific = format!("{value:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        return format!("{value:?}");
    }
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// The fraction and what follows it: `.123Z` → (123000, `Z`); without a point (0, all).
fn parse_fraction(tail: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = tail.strip_prefix(b".") else { return Some((0, tail)) };
    let end = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    let (fraction, zone) = rest.split_at(end);
    Some((micros_of(fraction)?, zone))
}

/// `Z` or `±HH:MM` to seconds east of UTC.
fn parse_zone(zone: &[u8]) -> Result<i64, TimestampError> {
    match zone {
        [] => Err(TimestampError::Naive),
        b"Z" | b"z" => Ok(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = digits(&[*h1, *h2]).filter(|h| *h <= 23).ok_or(TimestampError::Malformed)?;
            let minutes = digits(&[*m1, *m2]).filter(|m| *m <= 59).ok_or(TimestampError::Malformed)?;
            let east = hours * 3600 + minutes * 60;
            Ok(if *sign == b'-' { -east } else { east })
        }
        _ => Err(TimestampError::Malformed),
    }
}

/// The first six digits of a fraction as microseconds; `None` when it is empty or holds anything else.
fn micros_of(fraction: &[u8]) -> Option<i64> {
    if fraction.is_empty() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(6);
    Some(padded.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

/// A non-empty run of ASCII digits as a number; callers bound its length.
fn digits(bytes: &[u8]) -> Option<i64> {
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(bytes.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date; years are counted from March, eras of 400 years.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refusals_carry_their_reason() {
        assert_eq!(parse("2026-03-04T10:11:12"), Err(TimestampError::Naive));
        assert_eq!(parse("2026-03-04T10:11:12.5"), Err(TimestampError::Naive));
        let malformed = [
            "",
            "2026-03-04",
            "2026-03-04 10:11:12Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-06-30T23:59:60Z",
            "2026-03-04T24:00:00Z",
            "2026-03-04T10:11:12.Z",
            "2026-03-04T10:11:12+0200",
            "2026-03-04T10:11:12Z ",
            "2026-03-04T10:11:12+24:00",
            "1772000000.5",
            "２026-03-04T10:11:12Z",
            "+026-03-04T10:11:12Z",
            "2026-00-10T10:11:12Z",
            "2026-01-00T10:11:12Z",
        ];
        for text in malformed {
            assert_eq!(parse(text), Err(TimestampError::Malformed), "{text}");
        }
    }

    #[test]
    fn foreign_spellings_of_one_instant_agree() {
        let us = 1_772_619_072_123_456;
        for text in [
            "2026-03-04T10:11:12.123456Z",
            "2026-03-04t10:11:12.123456z",
            "2026-03-04T10:11:12.123456789Z",
            "2026-03-04T12:11:12.123456+02:00",
            "2026-03-03T20:11:12.123456-14:00",
        ] {
            assert_eq!(parse(text), Ok(us), "{text}");
        }
        assert_eq!(parse("2024-02-29T00:00:00Z").map(to_text).as_deref(), Ok("2024-02-29T00:00:00Z"));
    }

    #[test]
    fn floats_have_one_text() {
        let cases = [
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (1e-5, "1e-05"),
            (1e-4, "0.0001"),
            (1.2345678901234568e17, "1.2345678901234568e+17"),
            (-0.0, "-0.0"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::NAN, "<nonfinite>"),
            (f64::INFINITY, "<nonfinite>"),
        ];
        for (value, text) in cases {
            assert_eq!(float_text(value), text);
        }
    }

    #[test]
    fn device_clock_text() {
        assert_eq!(parse_epoch_decimal(" 1786231058.760632 \n"), Some(1_786_231_058_760_632));
        assert_eq!(parse_epoch_decimal("1786231058"), Some(1_786_231_058_000_000));
        for text in [
            "",
            "  ",
            "12:30:01",
            "1770000000,123",
            "17700.0.1",
            "-1.5",
            "1e9",
            "nan",
            "5.",
            ".5",
            "9999999999999",
        ] {
            assert_eq!(parse_epoch_decimal(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_reads_back(us in -62_167_219_200_000_000i64..253_402_300_800_000_000) {
            prop_assert_eq!(parse(&to_text(us)), Ok(us));
        }

        #[test]
        fn text_order_is_time_order(a in 0i64..253_402_300_800, b in 0i64..253_402_300_800) {
            let (ta, tb) = (to_text(a * US_PER_S), to_text(b * US_PER_S));
            prop_assert_eq!(a.cmp(&b), ta.cmp(&tb));
        }

        #[test]
        fn epoch_seconds_read_back(us in 0i64..4_102_444_800_000_000) {
            prop_assert_eq!(from_epoch_s(to_epoch_s(us)), Some(us));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}", us in any::<i64>(), s in any::<f64>()) {
            let _ = (parse(&text), parse_epoch_decimal(&text), to_text(us), from_epoch_s(s), float_text(s));
        }

        #[test]
        fn float_text_reads_back(value in any::<f64>()) {
            prop_assume!(value.is_finite());
            prop_assert_eq!(float_text(value).parse::<f64>().map(f64::to_bits), Ok(value.to_bits()));
        }
    }
}
