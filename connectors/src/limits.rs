//! The size limits that both logs enforce before they accept a record.

use lsie_schemas::log::{LogError, MAX_RECORD_BYTES, NewRecord};

/// The most bytes that key and headers of a record may take together.
pub const MAX_ENVELOPE_BYTES: usize = 64 * 1024;

/// Refuses a record whose value, or whose key with headers, is too large.
pub(crate) fn check(record: &NewRecord) -> Result<(), LogError> {
    if record.value.len() > MAX_RECORD_BYTES {
        return Err(LogError::TooLarge { size: record.value.len(), limit: MAX_RECORD_BYTES });
    }
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 6).sum();
    let envelope = record.key.len() + headers;
    if envelope > MAX_ENVELOPE_BYTES {
        return Err(LogError::TooLarge { size: envelope, limit: MAX_ENVELOPE_BYTES });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use lsie_schemas::Topic;

    use super::*;

    fn record(value: usize, header: usize) -> NewRecord {
        NewRecord {
            topic: Topic::Control,
            key: Bytes::from_static(b"k"),
            value: Bytes::from(vec![0; value]),
            headers: vec![("h".into(), Bytes::from(vec![0; header]))],
            timestamp: None,
        }
    }

    #[test]
    fn the_limit_itself_passes_and_one_byte_more_does_not() {
        assert!(check(&record(MAX_RECORD_BYTES, 0)).is_ok());
        let err = check(&record(MAX_RECORD_BYTES + 1, 0)).expect_err("one byte too many");
        assert!(matches!(err, LogError::TooLarge { size, .. } if size == MAX_RECORD_BYTES + 1));
        assert!(matches!(check(&record(0, MAX_ENVELOPE_BYTES)), Err(LogError::TooLarge { .. })));
    }
}
