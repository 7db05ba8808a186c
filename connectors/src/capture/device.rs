//! The phone at the end of the cable, as `adb` tells of it.

use std::time::Duration;

use super::program::call;

/// What an answer of the device may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Prints the device's clock in seconds with a fraction.
const CLOCK: &str = "echo $EPOCHREALTIME";

/// A device that producers capture from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The program `adb`.
    pub adb: String,
    /// Which device, where several are connected.
    pub serial: Option<String>,
    /// What an answer may take.
    pub limit: Duration,
}

impl Device {
    /// The device that `adb` finds.
    pub fn new(adb: impl Into<String>, serial: Option<String>) -> Device {
        Device { adb: adb.into(), serial, limit: LIMIT }
    }

    /// Whether it is there and ready.
    pub(super) fn is_present(&self) -> bool {
        self.ask(&["get-state"]).is_some_and(|state| state.trim() == "device")
    }

    /// Removes all tunnels that earlier producers left.
    pub(super) fn clear_tunnels(&self) {
        for direction in ["forward", "reverse"] {
            if self.ask(&[direction, "--remove-all"]).is_none() {
                tracing::warn!(direction, "the tunnels of earlier producers could not be removed");
            }
        }
    }

    /// Its clock, µs; `None` when it does not answer, or with something else.
    pub(super) fn clock_us(&self) -> Option<i64> {
        microseconds(self.ask(&["shell", CLOCK])?.trim())
    }

    fn ask(&self, what: &[&str]) -> Option<String> {
        let serial = self.serial.as_deref().map_or(vec![], |serial| vec!["-s", serial]);
        call(&self.adb, &[&serial, what].concat(), self.limit)
    }
}

/// Decimal seconds as microseconds; further digits are cut off.
fn microseconds(text: &str) -> Option<i64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(fraction) {
        return None;
    }
    let micros = format!("{fraction:0<6}");
    let micros: i64 = micros.get(..6)?.parse().ok()?;
    seconds.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_decimal_seconds_and_nothing_else() {
        assert_eq!(microseconds("1767607200.123456"), Some(1_767_607_200_123_456));
        assert_eq!(microseconds("5.5"), Some(5_500_000));
        assert_eq!(microseconds("5.1234567"), Some(5_123_456));
        assert_eq!(microseconds("5"), Some(5_000_000));
        for rubbish in ["", ".5", "$EPOCHREALTIME", "-5.0", "1e9", "5,5", "9999999999999999", "５"] {
            assert_eq!(microseconds(rubbish), None, "{rubbish}");
        }
    }
}
