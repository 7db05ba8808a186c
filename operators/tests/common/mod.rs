//! What several test files share: the small recorded streams under `tests/data`.

use std::path::PathBuf;

/// Bytes of a file under `tests/data`.
pub(crate) fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One access unit of a recorded stream.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    /// Annex B bytes.
    pub(crate) bytes: Vec<u8>,
    /// Place in decoding order, times 33 333 µs.
    pub(crate) capture_us: i64,
    /// Holds an IDR picture.
    pub(crate) key_frame: bool,
}

/// Cuts a stream at its access unit delimiters.
pub(crate) fn units(name: &str) -> Vec<Unit> {
    const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
    let stream = data(name);
    let mut starts: Vec<usize> = stream
        .windows(DELIMITER.len())
        .enumerate()
        .filter_map(|(at, bytes)| (bytes == DELIMITER).then_some(at))
        .collect();
    if starts.is_empty() {
        starts.push(0);
    }
    starts.push(stream.len());
    starts
        .windows(2)
        .enumerate()
        .map(|(index, range)| {
            let bytes = stream[range[0]..range[1]].to_vec();
            let key_frame = bytes.windows(4).any(|nal| nal[..3] == [0, 0, 1] && nal[3] & 0x1f == 5);
            Unit { bytes, capture_us: index as i64 * 33_333, key_frame }
        })
        .collect()
}
