//! Ids of fed sessions and their actions: derived, so that the same feed has the same ids.

use uuid::{Builder, Uuid, Version};

const NAMESPACE: Uuid = Uuid::from_u128(0x0f45_5c3e_9d1b_4a52_8a3e_6a2c_51c7_de01);

/// A session id (UUID v4 by form) that depends on the name and number only.
pub fn session_id(name: &str, number: u64) -> Uuid {
    version_4(Uuid::new_v5(&NAMESPACE, format!("session/{name}/{number}").as_bytes()))
}

/// The id of an action of a session.
pub(super) fn action_id(session: Uuid, action: &str) -> Uuid {
    version_4(Uuid::new_v5(&session, action.as_bytes()))
}

fn version_4(id: Uuid) -> Uuid {
    Builder::from_bytes(id.into_bytes()).with_version(Version::Random).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_distinct_and_valid_session_ids() {
        let id = session_id("demo", 0);
        assert_eq!(id, session_id("demo", 0));
        assert_ne!(id, session_id("demo", 1));
        assert_ne!(id, session_id("short", 0));
        assert_eq!(lsie_schemas::codec::session_id(&id.to_string()), Some(id));
        assert_ne!(action_id(id, "start"), action_id(id, "end"));
    }
}
