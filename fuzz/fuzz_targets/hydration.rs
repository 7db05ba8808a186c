//! Hydration: a request and a provider's answer to chunks, each of which is a valid one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_connectors::oura::{HydrationRequest, hydrate};
use lsie_schemas::EventTime;
use lsie_schemas::record::{SourceKind, SubjectRole};

fuzz_target!(|input: (&[u8], bool, &[u8])| {
    let (request, is_session, answer) = input;
    let _ = HydrationRequest::read(request);
    let Ok(answer) = serde_json::from_slice(answer) else { return };
    let request = HydrationRequest {
        unique_id: "08f78f85-9761-527e-8c9f-a7657d22a20f".into(),
        subject_role: SubjectRole::Streamer,
        source_kind: if is_session { SourceKind::Session } else { SourceKind::Ibi },
        start_datetime: String::new(),
        end_datetime: String::new(),
    };
    for answer in [&answer, &serde_json::json!({ "data": [answer] })] {
        for chunk in
            hydrate(&request, answer, EventTime(0)).map(|hydrated| hydrated.chunks).unwrap_or_default()
        {
            chunk.checked().expect("a valid chunk");
        }
    }
});
