//! Matroska from a pipe: how it is split changes nothing, and every unit begins with a start code.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_connectors::capture::MatroskaReader;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    let (head, tail) = stream.split_at(usize::from(cut).min(stream.len()));
    let (mut split, mut whole) = (Vec::new(), Vec::new());
    let mut reader = MatroskaReader::default();
    let result = reader.push(head, &mut split).and_then(|()| reader.push(tail, &mut split));
    assert_eq!(result, MatroskaReader::default().push(stream, &mut whole));
    assert_eq!(split, whole);
    assert!(whole.iter().all(|timed| timed.unit.bytes.starts_with(&[0, 0, 0, 1])));
});
