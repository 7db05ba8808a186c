//! Binary frames of the live platform: any bytes give events that are valid, or counts.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_connectors::live::webcast::read;
use lsie_schemas::{EventTime, Uuid};

fuzz_target!(|message: &[u8]| {
    let session = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
    for event in read(message, session, EventTime(1)).events {
        assert!(event.gift_value.is_none_or(|value| value >= 0));
        assert_eq!(event.session_id, session);
    }
});
