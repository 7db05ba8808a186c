//! Identity of segments (mathematics §2).

use lsie_schemas::canonical;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Length of every segment in microseconds: 30 s.
pub const SEGMENT_US: i64 = 30_000_000;

/// The event-time span of one segment, half-open: `start_us <= t < end_us`, corrected UTC in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Window {
    /// First instant of the segment.
    pub start_us: i64,
    /// First instant after the segment; also its `timestamp_utc`.
    pub end_us: i64,
}

/// Window of the segment with this ordinal (the first is 1; the engine's index `k` is ordinal − 1).
///
/// `None` for an ordinal below 1 and for a window that does not fit the microsecond clock.
pub fn window(anchor_us: i64, ordinal: i64) -> Option<Window> {
    let index = ordinal.checked_sub(1).filter(|index| *index >= 0)?;
    let start_us = anchor_us.checked_add(index.checked_mul(SEGMENT_US)?)?;
    Some(Window { start_us, end_us: start_us.checked_add(SEGMENT_US)? })
}

/// Ordinal of the segment that contains instant `t_us`; `None` before the anchor.
pub fn ordinal_at(anchor_us: i64, t_us: i64) -> Option<i64> {
    let since = t_us.checked_sub(anchor_us).filter(|since| *since >= 0)?;
    Some(since / SEGMENT_US + 1)
}

/// Segment id: lowercase hex SHA-256 of session id, C(start) and C(end) joined **without a separator**
/// (DM-12).
///
/// ```
/// use lsie_operators::segment_id::{segment_id, window};
/// let session = "3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b".parse().unwrap();
/// let first = window(1_777_024_800_000_000, 1).unwrap();
/// assert!(segment_id(session, first.start_us, first.end_us).starts_with("51d0621b62990b26"));
/// ```
pub fn segment_id(session_id: Uuid, start_us: i64, end_us: i64) -> String {
    let material =
        format!("{}{}{}", session_id.hyphenated(), canonical::to_text(start_us), canonical::to_text(end_us));
    hex(&Sha256::digest(material))
}

/// Lowercase hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_of_the_mathematics_page() {
        let session = Uuid::from_u128(0x3f2b8c1e_5a4d_4e6f_8a9b_0c1d2e3f4a5b);
        let id = |start_us| segment_id(session, start_us, start_us + SEGMENT_US);
        let whole = 1_777_024_800_000_000;
        assert_eq!(id(whole), "51d0621b62990b26fdd8d268e4728254011c8330938d4b3432407921e09d0f48");
        assert_eq!(id(whole + 123_456), "6c1a68c162d692f323cfcd988d9b7ba1ea8721954a1e2d935ba228faef280536");
    }

    #[test]
    fn no_window_without_an_ordinal_or_beyond_the_clock() {
        assert_eq!(
            (window(0, 0), window(0, i64::MIN), window(i64::MAX, 1), window(0, i64::MAX)),
            (None, None, None, None)
        );
        assert_eq!(ordinal_at(10, 9), None);
        assert_eq!(ordinal_at(i64::MIN, i64::MAX), None);
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_exactly_its_window(anchor_us in 0..1i64 << 52, since_us in 0..1i64 << 40) {
            let t_us = anchor_us + since_us;
            let ordinal = ordinal_at(anchor_us, t_us).expect("after the anchor");
            let Window { start_us, end_us } = window(anchor_us, ordinal).expect("a window");
            prop_assert!(start_us <= t_us && t_us < end_us);
            prop_assert_eq!(window(anchor_us, ordinal + 1).map(|next| next.start_us), Some(end_us));
        }
    }
}
