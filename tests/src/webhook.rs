//! The signature of a wearable provider's notification, made by the standard and not by the code under test.

use sha2::{Digest, Sha256};

/// HMAC-SHA256 (RFC 2104) of a body with a secret of at most 64 bytes, lowercase hex.
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut key = [0_u8; 64];
    key[..secret.len()].copy_from_slice(secret);
    let padded = |pad: u8| key.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(body).finalize();
    let outer = Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}
