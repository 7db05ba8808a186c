//! The wearable's provider: its change notifications, and what it answers about them.

pub(crate) mod claims;
mod hydrate;
mod hydration;
mod notification;
mod provider;
mod tokens;

pub use hydrate::{Hydrated, HydrationRequest, NAMESPACE, hydrate};
pub use hydration::{Settings, hydrate_requests};
pub use notification::{
    Answer, BodyError, CLAIM_TTL_S, Intake, Notification, SIGNATURE_HEADER, Unavailable, claim_key,
    is_signed, notification, receive,
};
pub use provider::Access;
