//! View `record_classes`: law 4 as a table.

use differential_dataflow::operators::CountTotal;
use lsie_operators::align::Classified;
use lsie_schemas::row::RecordClassRow;

use super::Rows;

pub(crate) fn record_classes<'scope>(classified: Rows<'scope, Classified>) -> Rows<'scope, RecordClassRow> {
    classified.count_total().map(|(what, records)| RecordClassRow {
        session: what.session.map_or_else(|| "unattributed".to_string(), |id| id.to_string()),
        topic: what.topic.name().to_string(),
        class: what.class.name().to_string(),
        reason: what.reason,
        records: records as i64,
    })
}
