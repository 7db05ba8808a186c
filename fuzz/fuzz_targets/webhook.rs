//! Deliveries of the webhook: nothing unsigned is taken, and no signed body ends anything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_connectors::oura::{Answer, Intake, Notification, Unavailable, notification, receive};

struct Store(u8);

impl Intake for Store {
    fn claim(&mut self, _: &str) -> Result<bool, Unavailable> {
        if self.0 & 1 == 0 { Ok(self.0 & 2 == 0) } else { Err(Unavailable) }
    }
    fn release(&mut self, _: &str) {}
    fn enqueue(&mut self, _: &Notification) -> Result<(), Unavailable> {
        if self.0 & 4 == 0 { Ok(()) } else { Err(Unavailable) }
    }
}

fuzz_target!(|input: (&[u8], Option<&[u8]>, u8, &[u8])| {
    let (secret, signature, store, body) = input;
    let answer = receive(secret, signature, body, &mut Store(store));
    // Nobody guesses 256 bits.
    assert_eq!(answer, Answer::Unauthorised);
    if let Ok(notification) = notification(body) {
        assert!(!notification.event_type.trim().is_empty());
    }
});
