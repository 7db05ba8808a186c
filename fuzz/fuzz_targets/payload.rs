//! Interface payloads: any text to its normal form, which is its own, or to a place and a reason. The record
//! decoder of chunks decides as their model does.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_schemas::payload::MODELS;
use lsie_schemas::record::PhysiologicalChunk;

fuzz_target!(|input: (u8, &[u8])| {
    let (model, text) = input;
    let model = MODELS[usize::from(model) % MODELS.len()];
    let read = model.read(text);
    if model.name == "PhysiologicalChunkEvent" {
        assert_eq!(read.is_ok(), PhysiologicalChunk::read_event(text).is_ok());
    }
    match read {
        Ok(normal) => assert_eq!(model.check(normal.clone()), Ok(normal)),
        Err(violation) => assert!(violation.path.is_empty() || violation.path.starts_with('/')),
    }
});
