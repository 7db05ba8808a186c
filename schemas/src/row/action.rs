//! Table `actions`: the audit trail of what was asked for through the API.

use crate::table::table;
use crate::time::EventTime;
use uuid::Uuid;

table! {
    /// An action that someone asked for, as its first record says. Whether it had an effect, other tables say.
    ActionRow = "actions", key(action_id), {
        /// Its identity.
        action_id: Uuid,
        /// Who asked.
        actor: String,
        /// The type of its record: `start`, `end`, `stimulus`, `create`, `set_arm`, `disable_arm`, `delete_arm`.
        action: String,
        /// Its record's log time.
        at: EventTime,
        /// The session it concerns.
        session_id: Option<Uuid>,
        /// The experiment it concerns.
        experiment_id: Option<String>,
        /// The arm it concerns.
        arm: Option<String>,
        /// The topic of its record.
        topic: String,
        /// The partition of its record.
        partition: i64,
        /// The offset of its record.
        record_offset: i64,
    },
    indexes ["at"]
}
