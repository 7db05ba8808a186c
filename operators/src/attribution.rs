//! The attribution ledger: which outcome may be credited to which greeting, and by how much (mathematics §13,
//! contracts §10).
//!
//! It watches; nothing of it reaches the reward, the posterior or a selection (behaviour §9).

pub mod identity;
pub mod lag_scan;
pub mod ledger;
pub mod link;
pub mod scores;
