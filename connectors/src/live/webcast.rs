//! The platform's binary frames: what is known of them, by field numbers of public descriptions.
//!
//! Only what an event needs is read, and of a message's text nothing is kept: a chat line is an event, its words
//! are nobody's business here. Messages of other kinds are counted.

use std::io::Read as _;

use flate2::read::GzDecoder;
use lsie_schemas::EventTime;
use lsie_schemas::record::LiveEvent;
use lsie_schemas::table::Json;
use prost::Message as _;
use serde_json::json;
use uuid::Uuid;

/// A frame that unpacks to more than this is damaged.
const MOST_BYTES: u64 = 16 << 20;
/// The first bytes of gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Actions of a control message that mean the end of the room.
const ENDED: [i64; 2] = [3, 4];
/// The type of a gift that is sent in streaks: each step repeats it with a higher count.
const STREAK: i64 = 1;

/// The envelope of all that goes over the socket.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PushFrame {
    /// Repeated in the acknowledgement.
    #[prost(uint64, tag = "2")]
    pub log_id: u64,
    /// `gzip`, or nothing.
    #[prost(string, tag = "6")]
    pub payload_encoding: String,
    /// `msg`, `ack`, `hb`.
    #[prost(string, tag = "7")]
    pub payload_type: String,
    /// For `msg` a [`Response`].
    #[prost(bytes = "vec", tag = "8")]
    pub payload: Vec<u8>,
}

/// What a `msg` frame holds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// The messages.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<Envelope>,
    /// Goes back with the acknowledgement.
    #[prost(bytes = "vec", tag = "5")]
    pub internal_ext: Vec<u8>,
    /// Whether an acknowledgement is wanted.
    #[prost(bool, tag = "9")]
    pub need_ack: bool,
}

/// A message and what it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    /// Its kind.
    #[prost(string, tag = "1")]
    pub method: String,
    /// The message itself.
    #[prost(bytes = "vec", tag = "2")]
    pub payload: Vec<u8>,
}

/// What all messages have in common.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Common {
    /// Its id.
    #[prost(uint64, tag = "2")]
    pub msg_id: u64,
    /// When it was made, ms.
    #[prost(uint64, tag = "4")]
    pub create_time: u64,
    /// What is shown for it.
    #[prost(message, optional, tag = "8")]
    pub display_text: Option<DisplayText>,
}

/// What is shown for a message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DisplayText {
    /// The name of the text.
    #[prost(string, tag = "1")]
    pub key: String,
}

/// Who did it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct User {
    /// The name that is unique.
    #[prost(string, tag = "38")]
    pub unique_id: String,
}

/// A gift as the catalogue has it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gift {
    /// 1: it is sent in streaks.
    #[prost(int64, tag = "11")]
    pub kind: i64,
    /// What one is worth.
    #[prost(int64, tag = "12")]
    pub diamonds: i64,
}

/// A kind of message: what all have in common, who did it, and what it counts.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident, user = $user:tt $(, $(#[$of:meta])* $field:ident = $tag:tt)?) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, prost::Message)]
        pub struct $name {
            /// What all messages have.
            #[prost(message, optional, tag = "1")]
            pub common: Option<Common>,
            /// Who did it.
            #[prost(message, optional, tag = $user)]
            pub user: Option<User>,
            $($(#[$of])* #[prost(int64, tag = $tag)] pub $field: i64,)?
        }
    };
}

message! {
    /// A line of chat.
    Chat, user = "2"
}
message! {
    /// Likes.
    Like, user = "5",
    /// How many.
    count = "2"
}
message! {
    /// A follow or a share.
    Social, user = "2",
    /// 1: a follow.
    action = "4"
}
message! {
    /// Somebody came in.
    Member, user = "2"
}

/// The room's state.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RoomControl {
    /// What all messages have.
    #[prost(message, optional, tag = "1")]
    pub common: Option<Common>,
    /// 3, 4: it is over.
    #[prost(int64, tag = "2")]
    pub action: i64,
}

/// A gift that was sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct GiftSent {
    /// What all messages have.
    #[prost(message, optional, tag = "1")]
    pub common: Option<Common>,
    /// How many so far.
    #[prost(int64, tag = "5")]
    pub repeat_count: i64,
    /// Who sent it.
    #[prost(message, optional, tag = "7")]
    pub user: Option<User>,
    /// 1: the streak is over.
    #[prost(int64, tag = "9")]
    pub repeat_end: i64,
    /// What was sent.
    #[prost(message, optional, tag = "15")]
    pub gift: Option<Gift>,
}

/// What a message of the socket says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Read {
    /// The events, in order.
    pub events: Vec<LiveEvent>,
    /// Messages of kinds that are not looked at.
    pub unknown: u64,
    /// Messages and frames that could not be read.
    pub malformed: u64,
    /// What to answer with.
    pub acknowledge: Option<Vec<u8>>,
    /// The room has ended.
    pub ended: bool,
}

/// The sign of life.
pub fn heartbeat() -> Vec<u8> {
    PushFrame { payload_type: "hb".into(), ..PushFrame::default() }.encode_to_vec()
}

/// Reads a binary message; what has no time of its own happened now.
pub fn read(message: &[u8], session: Uuid, now: EventTime) -> Read {
    let mut read = Read::default();
    let Ok(frame) = PushFrame::decode(message) else {
        read.malformed = 1;
        return read;
    };
    if frame.payload_type != "msg" {
        return read;
    }
    let response = unpacked(frame.payload).and_then(|payload| Response::decode(payload.as_slice()).ok());
    let Some(response) = response else {
        read.malformed = 1;
        return read;
    };
    if response.need_ack {
        let ack = PushFrame {
            log_id: frame.log_id,
            payload_type: "ack".into(),
            payload: response.internal_ext,
            ..PushFrame::default()
        };
        read.acknowledge = Some(ack.encode_to_vec());
    }
    for message in response.messages {
        match said(&message) {
            Ok(Said::Event { kind, common, user, payload, gift_value }) => {
                let at_ms = i64::try_from(common.create_time).ok().filter(|ms| *ms > 0);
                let at = at_ms.and_then(|ms| ms.checked_mul(1_000)).map_or(now, EventTime);
                read.ended |= kind == "room_end";
                read.events.push(LiveEvent {
                    session_id: session,
                    unique_id: user.map(|user| user.unique_id).filter(|name| !name.is_empty()),
                    event_type: kind.into(),
                    timestamp_utc: at,
                    payload: Json::new(&payload),
                    gift_value,
                    event_id: (common.msg_id > 0).then(|| common.msg_id.to_string()),
                });
            }
            Ok(Said::Nothing) => read.unknown += 1,
            Err(_) => read.malformed += 1,
        }
    }
    read
}

/// What a message says to us.
enum Said {
    Event {
        kind: &'static str,
        common: Common,
        user: Option<User>,
        payload: serde_json::Value,
        gift_value: Option<i64>,
    },
    Nothing,
}

fn said(message: &Envelope) -> Result<Said, prost::DecodeError> {
    let payload = message.payload.as_slice();
    let event = |kind, common: Option<Common>, user, payload, gift_value| {
        let common = common.unwrap_or_default();
        Said::Event { kind, common, user, payload, gift_value }
    };
    Ok(match message.method.as_str() {
        "WebcastChatMessage" => {
            let chat = Chat::decode(payload)?;
            event("chat", chat.common, chat.user, json!({}), None)
        }
        "WebcastLikeMessage" => {
            let like = Like::decode(payload)?;
            event("like", like.common, like.user, json!({ "count": like.count }), None)
        }
        "WebcastMemberMessage" => {
            let member = Member::decode(payload)?;
            event("member", member.common, member.user, json!({}), None)
        }
        "WebcastSocialMessage" => {
            let social = Social::decode(payload)?;
            let key = social.common.as_ref().and_then(|common| common.display_text.as_ref());
            let key = key.map_or("", |text| text.key.as_str());
            match () {
                _ if key.contains("follow") => event("follow", social.common, social.user, json!({}), None),
                _ if key.contains("share") => event("share", social.common, social.user, json!({}), None),
                _ if social.action == 1 => event("follow", social.common, social.user, json!({}), None),
                _ => Said::Nothing,
            }
        }
        "WebcastGiftMessage" => {
            let sent = GiftSent::decode(payload)?;
            let gift = sent.gift.unwrap_or_default();
            // Of a streak only the last step counts; it has the whole number.
            if gift.kind == STREAK && sent.repeat_end != 1 {
                return Ok(Said::Nothing);
            }
            let value = gift.diamonds.max(0).checked_mul(sent.repeat_count.max(1));
            event("gift", sent.common, sent.user, json!({ "count": sent.repeat_count.max(1) }), value)
        }
        "WebcastControlMessage" => {
            let control = RoomControl::decode(payload)?;
            match ENDED.contains(&control.action) {
                true => event("room_end", control.common, None, json!({}), None),
                false => Said::Nothing,
            }
        }
        _ => Said::Nothing,
    })
}

/// The payload, unpacked if it is packed; none when it is damaged or too large.
fn unpacked(payload: Vec<u8>) -> Option<Vec<u8>> {
    if !payload.starts_with(&GZIP) {
        return Some(payload);
    }
    let mut plain = Vec::new();
    let read = GzDecoder::new(payload.as_slice()).take(MOST_BYTES).read_to_end(&mut plain).ok()?;
    ((read as u64) < MOST_BYTES).then_some(plain)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    const SESSION: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);

    fn common(msg_id: u64, key: &str) -> Option<Common> {
        let display_text = Some(DisplayText { key: key.into() });
        Some(Common { msg_id, create_time: 1_767_607_200_500, display_text })
    }

    fn user() -> Option<User> {
        Some(User { unique_id: "ana".into() })
    }

    fn envelope(method: &str, message: &impl prost::Message) -> Envelope {
        Envelope { method: format!("Webcast{method}Message"), payload: message.encode_to_vec() }
    }

    fn frame(messages: Vec<Envelope>, packed: bool) -> Vec<u8> {
        let response = Response { messages, internal_ext: b"ext".to_vec(), need_ack: true };
        let mut payload = response.encode_to_vec();
        if packed {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&payload).expect("memory");
            payload = encoder.finish().expect("memory");
        }
        let (payload_type, payload_encoding) = ("msg".into(), String::new());
        PushFrame { log_id: 9, payload_encoding, payload_type, payload }.encode_to_vec()
    }

    fn read(message: &[u8]) -> Read {
        super::read(message, SESSION, EventTime(7))
    }

    #[test]
    fn the_sign_of_life_is_four_bytes() {
        assert_eq!(heartbeat(), [0x3a, 0x02, b'h', b'b']);
    }

    #[test]
    fn every_kind_of_event_and_an_acknowledgement() {
        let gift = |kind, repeat_end| GiftSent {
            common: common(3, ""),
            repeat_count: 4,
            user: user(),
            repeat_end,
            gift: Some(Gift { kind, diamonds: 5 }),
        };
        let social = |key: &str, action| Social { common: common(4, key), user: user(), action };
        let messages = vec![
            envelope("Chat", &Chat { common: common(1, ""), user: user() }),
            envelope("Like", &Like { common: common(2, ""), user: user(), count: 15 }),
            envelope("Gift", &gift(2, 0)),
            envelope("Gift", &gift(1, 0)),
            envelope("Gift", &gift(1, 1)),
            envelope("Social", &social("pm_main_follow_message_viewer_2", 0)),
            envelope("Social", &social("pm_mt_guidance_share", 3)),
            envelope("Social", &social("", 1)),
            envelope("Social", &social("", 7)),
            envelope("Member", &Member { common: common(5, ""), user: user() }),
            envelope("RoomUserSeq", &Chat { common: None, user: None }),
            envelope("Control", &RoomControl { common: common(6, ""), action: 1 }),
            envelope("Control", &RoomControl { common: common(7, ""), action: 3 }),
        ];
        for packed in [false, true] {
            let read = read(&frame(messages.clone(), packed));
            let kinds: Vec<&str> = read.events.iter().map(|event| event.event_type.as_str()).collect();
            let expected =
                ["chat", "like", "gift", "gift", "follow", "share", "follow", "member", "room_end"];
            assert_eq!(kinds, expected);
            assert_eq!((read.unknown, read.malformed, read.ended), (4, 0, true));
            assert_eq!(read.events[2].gift_value, Some(20));
            assert_eq!(read.events[0].unique_id.as_deref(), Some("ana"));
            assert_eq!(read.events[0].timestamp_utc, EventTime(1_767_607_200_500_000));
            assert_eq!(read.events[0].source_event_ref().as_deref(), Some("1"));
            assert!(read.events[4].outcome().is_some());
            let ack =
                PushFrame::decode(read.acknowledge.expect("one is wanted").as_slice()).expect("a frame");
            assert_eq!(
                (ack.log_id, ack.payload_type.as_str(), ack.payload.as_slice()),
                (9, "ack", &b"ext"[..])
            );
        }
    }

    #[test]
    fn damage_is_counted_and_the_rest_is_read() {
        let chat = envelope("Chat", &Chat { common: None, user: user() });
        let damaged = Envelope { payload: vec![0xff; 3], ..chat.clone() };
        let found = read(&frame(vec![damaged, chat], false));
        assert_eq!((found.events.len(), found.malformed), (1, 1));
        assert_eq!((found.events[0].timestamp_utc, found.events[0].source_event_ref()), (EventTime(7), None));
        assert_eq!(read(b"\xff\xff\xff").malformed, 1);
        let cut =
            PushFrame { payload_type: "msg".into(), payload: vec![0x1f, 0x8b, 8], ..PushFrame::default() };
        assert_eq!(read(&cut.encode_to_vec()).malformed, 1);
    }

    #[test]
    fn a_frame_that_unpacks_to_too_much_is_damaged() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(&vec![0; MOST_BYTES as usize + 1]).expect("memory");
        assert_eq!(unpacked(encoder.finish().expect("memory")), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(message: Vec<u8>, at in 0usize..120, byte: u8) {
            let _ = read(&message);
            let gift = GiftSent { common: common(1, "x"), user: user(), ..GiftSent::default() };
            let mut damaged = frame(vec![envelope("Gift", &gift)], false);
            if let Some(b) = damaged.get_mut(at) { *b = byte; }
            let _ = read(&damaged);
        }
    }
}
