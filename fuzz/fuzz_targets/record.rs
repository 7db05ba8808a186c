//! Records of every topic: bytes, key and headers to a record or its rejection.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{
    HEADER_CAPTURE_US, HEADER_CODEC, HEADER_KEY_FRAME, HEADER_RATE, HEADER_SEQ, HEADER_STREAM, HEADER_VERSION,
};
use lsie_schemas::{LogTime, Topic, codec};

const SESSION: &str = "3f2b8c1e-5a4d-4e6f-8a9b-0c1d2e3f4a5b";
const HEADERS: [&str; 7] = [
    HEADER_VERSION,
    HEADER_STREAM,
    HEADER_SEQ,
    HEADER_CAPTURE_US,
    HEADER_CODEC,
    HEADER_RATE,
    HEADER_KEY_FRAME,
];

fuzz_target!(|input: (u8, Option<Vec<u8>>, Vec<(u8, Vec<u8>)>, Vec<u8>)| {
    let (topic, key, headers, value) = input;
    let headers = headers
        .into_iter()
        .map(|(name, value)| (HEADERS[usize::from(name) % HEADERS.len()].to_owned(), Bytes::from(value)));
    let record = LogRecord {
        at: TopicPartition { topic: Topic::ALL[usize::from(topic) % Topic::ALL.len()], partition: 0 },
        offset: 0,
        log_time: LogTime(1_777_024_800_000),
        key: Some(key.map_or(Bytes::from_static(SESSION.as_bytes()), Bytes::from)),
        value: Bytes::from(value),
        headers: headers.collect(),
    };
    match codec::decode(&record) {
        Ok(decoded) => drop(serde_json::to_vec(&decoded).expect("a decoded record can be written")),
        Err(rejection) => assert!(!rejection.reason.is_empty()),
    }
});
