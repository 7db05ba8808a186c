//! Sealing: AES-256-GCM with keys that are wiped from memory.

use aes_gcm::aead::{Aead, KeyInit, OsRng, Payload};
use aes_gcm::{AeadCore, Aes256Gcm, Nonce};
use zeroize::Zeroizing;

/// Bytes in front of what is sealed.
const NONCE_BYTES: usize = 12;
/// Bytes that sealing adds: the nonce in front, the tag behind.
pub const SEAL_BYTES: usize = NONCE_BYTES + 16;

/// What was sealed with another key, for another place, or changed since. Nothing of it comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not sealed with this key for this place, or changed since")]
pub struct NotOpened;

/// A key. Its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Key(Aes256Gcm);

impl Key {
    /// The key of these bytes.
    pub fn new(bytes: &[u8; 32]) -> Key {
        Key(Aes256Gcm::new(bytes.into()))
    }

    /// A new key by the operating system, and its bytes, which are to be wrapped or forgotten.
    pub fn random() -> (Key, Zeroizing<[u8; 32]>) {
        let bytes = Zeroizing::new(<[u8; 32]>::from(Aes256Gcm::generate_key(&mut OsRng)));
        (Key::new(&bytes), bytes)
    }

    /// Nonce, ciphertext, tag. What is sealed opens at `place` only.
    pub fn seal(&self, place: &[u8], plain: &[u8]) -> Vec<u8> {
        let nonce = Aes256Gcm::generate_nonce(&mut OsRng);
        let payload = Payload { msg: plain, aad: place };
        // Fails for more than 64 GiB only; what is then missing cannot be opened.
        let sealed = self.0.encrypt(&nonce, payload).unwrap_or_default();
        [nonce.as_slice(), &sealed].concat()
    }

    /// What was sealed with this key for this place.
    pub fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, NotOpened> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or(NotOpened)?;
        let payload = Payload { msg: sealed, aad: place };
        self.0.decrypt(Nonce::from_slice(nonce), payload).map_err(|_| NotOpened)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// The key in a text of 64 hexadecimal digits.
pub fn key_of_hex(text: &str) -> Option<Key> {
    let bytes = Zeroizing::new(unhex(text.trim())?);
    let bytes: &[u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(Key::new(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect::<Option<Vec<u8>>>().filter(|_| digits && text.len().is_multiple_of(2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Test case 16 of the GCM specification's appendix B, decrypted: key, nonce, associated data, ciphertext, tag.
    #[test]
    fn a_vector_of_the_standard() {
        let key =
            key_of_hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308").expect("a key");
        let place = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2").expect("hex");
        let sealed = unhex(concat!(
            "cafebabefacedbaddecaf888",
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa",
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
            "76fc6ece0f4e1768cddf8853bb2d551b",
        ))
        .expect("hex");
        let plain = concat!(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72",
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
        );
        assert_eq!(key.open(&place, &sealed).map(|plain| hex(&plain)).as_deref(), Ok(plain));
    }

    #[test]
    fn a_key_is_64_digits() {
        assert!(
            key_of_hex(&"0".repeat(64)).is_some() && key_of_hex(&format!("{}\n", "aB".repeat(32))).is_some()
        );
        for other in ["", "00", &"0".repeat(63), &"0".repeat(66), &"+1".repeat(32), &"ä".repeat(32)] {
            assert!(key_of_hex(other).is_none(), "{other}");
        }
    }

    proptest! {
        #[test]
        fn only_the_same_key_opens_at_the_same_place_what_was_not_changed(
            plain: Vec<u8>, place: Vec<u8>, at: prop::sample::Index, flip in 1u8..
        ) {
            let (key, _) = Key::random();
            let sealed = key.seal(&place, &plain);
            prop_assert_eq!(sealed.len(), plain.len() + SEAL_BYTES);
            prop_assert_eq!(key.open(&place, &sealed), Ok(plain.clone()));
            prop_assert_ne!(key.seal(&place, &plain), sealed.clone(), "a nonce is used once");
            prop_assert_eq!(Key::random().0.open(&place, &sealed), Err(NotOpened));
            prop_assert_eq!(key.open(&[&place[..], b"x"].concat(), &sealed), Err(NotOpened));
            let mut changed = sealed.clone();
            changed[at.index(sealed.len())] ^= flip;
            prop_assert_eq!(key.open(&place, &changed), Err(NotOpened));
            prop_assert_eq!(key.open(&place, &sealed[..at.index(sealed.len())]), Err(NotOpened));
        }
    }
}
