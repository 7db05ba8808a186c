//! WAV from a pipe: how it is split changes nothing, and what comes out is whole samples.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_connectors::capture::WavReader;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, stream) = input;
    let (head, tail) = stream.split_at(usize::from(cut).min(stream.len()));
    let (mut split, mut whole) = (Vec::new(), Vec::new());
    let mut reader = WavReader::default();
    let result = reader.push(head, &mut split).and_then(|()| reader.push(tail, &mut split));
    assert_eq!(result, WavReader::default().push(stream, &mut whole));
    assert_eq!(split, whole);
    assert!(whole.len() % 2 == 0);
});
