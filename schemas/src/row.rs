//! The row types of all tables, one file each subject; a row is described once.
//!
//! `id`, `created_at` and `updated_at` are in no row: sinks derive them (DESIGN §5).

mod action;
mod attribution;
mod encounter;
mod experiment;
mod inference;
mod ledger;
mod measure;
mod operator;
mod physiology;
mod pitch;
mod segment;
mod session;
mod source;
mod summary;
mod watch;

pub use action::ActionRow;
pub use attribution::{AttributionEventRow, AttributionScoreRow, EventOutcomeLinkRow, OutcomeEventRow};
pub use encounter::{EncounterRow, EvaluationRow, JudgementRow, ReactionRow, StimulusRow, TranscriptRow};
pub use experiment::{ArmRow, DecisionRow};
pub use inference::InferenceRow;
pub use ledger::{DeadLetterRow, RecordClassRow};
pub use measure::{Au12Row, ContextRow, EventRow, FaceRow, MetricsRow};
pub use operator::OperatorRow;
pub use physiology::{ComodulationRow, LagScanRow, PhysiologyRow};
pub use pitch::PitchRow;
pub use segment::{SegmentRow, SegmentStreamRow};
pub use session::SessionRow;
pub use source::SourceRow;
pub use summary::{
    ArmSummaryRow, EncounterSummaryRow, PhysiologyCurrentRow, PosteriorUpdateRow, SessionSummaryRow,
};
pub use watch::{AlertRow, HealthRow};

use crate::table::{Table, TableRow};

/// All permanent tables, sorted by name.
pub fn tables() -> &'static [Table] {
    const TABLES: &[Table] = &[
        ActionRow::TABLE,
        AlertRow::TABLE,
        ArmSummaryRow::TABLE,
        AttributionEventRow::TABLE,
        AttributionScoreRow::TABLE,
        Au12Row::TABLE,
        ComodulationRow::TABLE,
        ContextRow::TABLE,
        DeadLetterRow::TABLE,
        DecisionRow::TABLE,
        EncounterRow::TABLE,
        EncounterSummaryRow::TABLE,
        EvaluationRow::TABLE,
        EventOutcomeLinkRow::TABLE,
        EventRow::TABLE,
        ArmRow::TABLE,
        FaceRow::TABLE,
        HealthRow::TABLE,
        InferenceRow::TABLE,
        JudgementRow::TABLE,
        LagScanRow::TABLE,
        MetricsRow::TABLE,
        OutcomeEventRow::TABLE,
        PhysiologyCurrentRow::TABLE,
        PhysiologyRow::TABLE,
        PosteriorUpdateRow::TABLE,
        ReactionRow::TABLE,
        RecordClassRow::TABLE,
        SegmentStreamRow::TABLE,
        SegmentRow::TABLE,
        SessionSummaryRow::TABLE,
        SessionRow::TABLE,
        StimulusRow::TABLE,
        TranscriptRow::TABLE,
    ];
    TABLES
}

/// The transient tables, sorted by name: served for a while, kept nowhere.
pub fn transient() -> &'static [Table] {
    const TABLES: &[Table] = &[OperatorRow::TABLE, PitchRow::TABLE, SourceRow::TABLE];
    TABLES
}

/// The table of a name, permanent or transient.
pub fn table(name: &str) -> Option<&'static Table> {
    tables().iter().chain(transient()).find(|t| t.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_keys_are_columns() {
        assert!(tables().is_sorted_by(|a, b| a.name < b.name));
        for table in tables().iter().chain(transient()) {
            assert_eq!(table.key_positions().len(), table.key.len(), "{}", table.name);
        }
    }
}
