//! View `physiology_current`: the newest physiological snapshot of each role of a session.

use std::collections::BTreeMap;

use lsie_schemas::EventTime;
use lsie_schemas::row::{PhysiologyCurrentRow, PhysiologyRow};
use uuid::Uuid;

use super::summary::Part;

/// At most one row a role: of the segment that ends last.
pub(crate) fn rows(session_id: Uuid, parts: &[&Part]) -> Vec<PhysiologyCurrentRow> {
    let mut ends: BTreeMap<&str, EventTime> = BTreeMap::new();
    for part in parts {
        if let Part::Closed(segment, end, _) = part {
            ends.insert(segment.as_str(), *end);
        }
    }
    let mut newest: BTreeMap<&str, (EventTime, &PhysiologyRow)> = BTreeMap::new();
    for part in parts {
        let Part::Physiology(row) = part else { continue };
        let Some(end) = ends.get(row.segment_id.as_str()) else { continue };
        let known = newest.entry(&row.subject_role).or_insert((*end, row));
        *known = (*known).max((*end, row));
    }
    newest.into_values().map(|(end, row)| current(session_id, end, row)).collect()
}

fn current(session_id: Uuid, segment_timestamp_utc: EventTime, row: &PhysiologyRow) -> PhysiologyCurrentRow {
    PhysiologyCurrentRow {
        session_id,
        subject_role: row.subject_role.clone(),
        segment_id: row.segment_id.clone(),
        segment_timestamp_utc,
        rmssd_ms: row.rmssd_ms,
        heart_rate_bpm: row.heart_rate_bpm,
        freshness_s: row.freshness_s,
        is_stale: row.is_stale,
        provider: row.provider.clone(),
        source_timestamp_utc: row.source_timestamp_utc,
    }
}
