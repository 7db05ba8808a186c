//! The wearable's provider: its change notifications, and what it answers about them.

pub(crate) mod claims;
mod hydrate;
mod notification;

pub use hydrate::{Hydrated, HydrationRequest, NAMESPACE, hydrate};
pub use notification::{
    Answer, BodyError, CLAIM_TTL_S, Intake, Notification, SIGNATURE_HEADER, Unavailable, claim_key,
    is_signed, notification, receive,
};
