//! The row types of all tables, one file each subject; a row is described once.
//!
//! `id`, `created_at` and `updated_at` are in no row: sinks derive them (DESIGN §5).

mod attribution;
mod encounter;
mod experiment;
mod ledger;
mod measure;
mod physiology;
mod segment;
mod session;

pub use attribution::{AttributionEventRow, AttributionScoreRow, EventOutcomeLinkRow, OutcomeEventRow};
pub use encounter::{EncounterRow, EvaluationRow, StimulusRow, TranscriptRow};
pub use experiment::{ArmRow, DecisionRow};
pub use ledger::{DeadLetterRow, RecordClassRow};
pub use measure::{Au12Row, ContextRow, EventRow, FaceRow, MetricsRow};
pub use physiology::{ComodulationRow, PhysiologyRow};
pub use segment::SegmentRow;
pub use session::SessionRow;

use crate::table::{Table, TableRow};

/// All tables, sorted by name.
pub fn tables() -> &'static [Table] {
    const TABLES: &[Table] = &[
        AttributionEventRow::TABLE,
        AttributionScoreRow::TABLE,
        Au12Row::TABLE,
        ComodulationRow::TABLE,
        ContextRow::TABLE,
        DeadLetterRow::TABLE,
        DecisionRow::TABLE,
        EncounterRow::TABLE,
        EvaluationRow::TABLE,
        EventOutcomeLinkRow::TABLE,
        EventRow::TABLE,
        ArmRow::TABLE,
        FaceRow::TABLE,
        MetricsRow::TABLE,
        OutcomeEventRow::TABLE,
        PhysiologyRow::TABLE,
        RecordClassRow::TABLE,
        SegmentRow::TABLE,
        SessionRow::TABLE,
        StimulusRow::TABLE,
        TranscriptRow::TABLE,
    ];
    TABLES
}

/// The table of a name.
pub fn table(name: &str) -> Option<&'static Table> {
    tables().iter().find(|t| t.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_keys_are_columns() {
        assert!(tables().is_sorted_by(|a, b| a.name < b.name));
        for table in tables() {
            assert_eq!(table.key_positions().len(), table.key.len(), "{}", table.name);
        }
    }
}
