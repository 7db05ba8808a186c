//! What a capture has taken in and the log has not: bounded, and honest about what it drops.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use lsie_schemas::log::MAX_RECORD_BYTES;
use lsie_schemas::record::{ClockPoll, Control, EndSession, Gap, StartSession, Stream};
use uuid::Uuid;

use crate::seal::SEAL_BYTES;

/// Most bytes of media that one batch takes, unless a single record is larger.
const BATCH_BYTES: usize = 1 << 20;
/// Larger chunks and units are dropped: sealed, they would no longer fit into a record.
const MOST_MEDIA_BYTES: usize = MAX_RECORD_BYTES - SEAL_BYTES;
/// Most records of a batch.
const BATCH_RECORDS: usize = 1_000;

/// A chunk or an access unit on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    pub(super) session: Uuid,
    pub(super) stream: Stream,
    pub(super) seq: u64,
    /// When it was captured, by this machine's clock, µs.
    pub(super) host_us: i64,
    pub(super) key_frame: bool,
    pub(super) bytes: Bytes,
}

/// What waits for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Media(Media),
    Control(Control),
}

/// What became of media that were handed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// On its way to the log.
    Queued,
    /// No session wants it: none runs, or not at that time, or not this stream.
    Outside,
    /// A picture that no decoder could begin with.
    NoKeyFrame,
    /// The buffer is full, or the record too large; a gap record will say so.
    Dropped,
}

/// The outbox of a capture; readers fill it, the uploader empties it.
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Outbox {
    pub(super) fn new(most_bytes: usize) -> Outbox {
        let queue = Queue { most_bytes, ..Queue::default() };
        Outbox { queue: Mutex::new(queue), changed: Condvar::new() }
    }

    /// Does something with the queue; whoever waits for it looks again.
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Queue) -> T) -> T {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// Looks at the queue.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Queue) -> T) -> T {
        look(&self.lock())
    }

    /// The next batch in order, as soon as there is one; `None` when the outbox is closed and empty.
    pub(super) fn next(&self) -> Option<Vec<Item>> {
        let mut queue = self.lock();
        loop {
            let batch = queue.take();
            if !batch.is_empty() {
                return Some(batch);
            }
            if queue.closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queue and the session it is for.
#[derive(Debug, Default)]
pub(super) struct Queue {
    most_bytes: usize,
    bytes: usize,
    /// Since the buffer was full, nothing is taken until half of it is free.
    full: bool,
    items: VecDeque<Item>,
    session: Option<Running>,
    closed: bool,
}

#[derive(Debug)]
struct Running {
    id: Uuid,
    /// Nothing captured after this belongs to it.
    until_us: Option<i64>,
    /// A clock poll of this session has been made: its media may follow.
    polled: bool,
    tracks: BTreeMap<Stream, Track>,
}

#[derive(Debug, Default)]
struct Track {
    next_seq: u64,
    gap: Option<(u64, u64, u64)>,
    /// Video only: pictures count from the next key frame on.
    wants_key_frame: bool,
}

impl Queue {
    /// The session that runs, if its clock has not been polled yet.
    pub(super) fn unpolled(&self) -> Option<Uuid> {
        self.session.as_ref().filter(|running| !running.polled).map(|running| running.id)
    }

    /// The session that runs.
    pub(super) fn session(&self) -> Option<Uuid> {
        self.session.as_ref().map(|running| running.id)
    }

    /// Takes in media from now on for this session, whose streams go on at these numbers. One that ran before
    /// is over. A start record is written first, if the session is this capture's own.
    pub(super) fn begin(&mut self, start: &StartSession, next: &BTreeMap<Stream, u64>, own: bool) {
        if self.session.as_ref().is_some_and(|running| running.until_us.is_none()) {
            self.end();
        }
        self.finish();
        if own {
            self.items.push_back(Item::Control(Control::Start(start.clone())));
        }
        let track = |stream: &Stream| Track {
            next_seq: next.get(stream).copied().unwrap_or(0),
            gap: None,
            wants_key_frame: *stream == Stream::Video,
        };
        let tracks = start.streams.iter().map(|stream| (*stream, track(stream))).collect();
        self.session = Some(Running { id: start.session_id, until_us: None, polled: false, tracks });
    }

    /// The session ends at this instant: what was captured before may still come.
    pub(super) fn end_at(&mut self, session: Uuid, until_us: i64) {
        if let Some(running) = self.session.as_mut().filter(|running| running.id == session) {
            running.until_us.get_or_insert(until_us);
        }
    }

    /// Ends the session with a record.
    pub(super) fn end(&mut self) {
        let Some(session_id) = self.session() else { return };
        self.finish();
        self.items.push_back(Item::Control(Control::End(EndSession { session_id, client_action_id: None })));
    }

    /// Nothing more will come in.
    pub(super) fn close(&mut self) {
        self.finish();
        self.closed = true;
    }

    /// The session is over: its gaps are said, and it takes no more.
    fn finish(&mut self) {
        if let Some(mut running) = self.session.take() {
            let streams: Vec<Stream> = running.tracks.keys().copied().collect();
            streams.into_iter().for_each(|stream| self.say_gap(&mut running, stream));
        }
    }

    /// Takes a clock poll; the session's first goes in front of its media, for it says what their stamps mean.
    pub(super) fn poll(&mut self, host_before_us: i64, host_after_us: i64, device_us: Option<i64>) {
        let Some(running) = &mut self.session else { return };
        if running.until_us.is_some_and(|until| host_before_us > until) {
            return self.finish();
        }
        let session_id = running.id;
        let poll = ClockPoll { session_id, host_before_us, host_after_us, device_us };
        let is_held = |item: &Item| matches!(item, Item::Media(media) if media.session == session_id);
        let first = self.items.iter().position(is_held).filter(|_| !running.polled);
        running.polled = true;
        self.items.insert(first.unwrap_or(self.items.len()), Item::Control(Control::ClockPoll(poll)));
    }

    /// Takes a chunk or a unit.
    pub(super) fn media(&mut self, stream: Stream, host_us: i64, key_frame: bool, bytes: Bytes) -> Taken {
        let Some(mut running) = self.session.take() else { return Taken::Outside };
        let taken = self.media_of(&mut running, stream, host_us, key_frame, bytes);
        self.session = Some(running);
        taken
    }

    fn media_of(
        &mut self,
        running: &mut Running,
        stream: Stream,
        host_us: i64,
        key_frame: bool,
        bytes: Bytes,
    ) -> Taken {
        let session = running.id;
        let Some(track) = running.tracks.get_mut(&stream) else { return Taken::Outside };
        if running.until_us.is_some_and(|until| host_us > until) {
            return Taken::Outside;
        }
        let no_beginning = track.wants_key_frame && !key_frame;
        if no_beginning && track.gap.is_none() {
            return Taken::NoKeyFrame;
        }
        let limit = if self.full { self.most_bytes / 2 } else { self.most_bytes };
        self.full = self.bytes + bytes.len() > limit;
        let seq = track.next_seq;
        track.next_seq += 1;
        if no_beginning || self.full || bytes.len() > MOST_MEDIA_BYTES {
            let (_, records, lost) = track.gap.get_or_insert((seq, 0, 0));
            *records += 1;
            *lost += bytes.len() as u64;
            track.wants_key_frame = stream == Stream::Video;
            return Taken::Dropped;
        }
        track.wants_key_frame = false;
        self.say_gap(running, stream);
        self.bytes += bytes.len();
        self.items.push_back(Item::Media(Media { session, stream, seq, host_us, key_frame, bytes }));
        Taken::Queued
    }

    /// A producer broke off: these bytes were the beginning of something, and what follows begins anew.
    pub(super) fn broken(&mut self, stream: Stream, bytes: u64) {
        let Some(mut running) = self.session.take() else { return };
        if let Some(track) = running.tracks.get_mut(&stream) {
            track.wants_key_frame = stream == Stream::Video;
            if bytes > 0 {
                track.gap.get_or_insert((track.next_seq, 0, 0)).2 += bytes;
            }
        }
        self.session = Some(running);
    }

    /// Writes the record of a stream's gap, if it has one.
    fn say_gap(&mut self, running: &mut Running, stream: Stream) {
        let gap = running.tracks.get_mut(&stream).and_then(|track| track.gap.take());
        if let Some((from_seq, records, bytes)) = gap {
            let gap = Gap { session_id: running.id, stream, from_seq, records, bytes };
            self.items.push_back(Item::Control(Control::Gap(gap)));
        }
    }

    /// The next batch: nothing while a session's first poll is outstanding, and nothing behind a poll, so that
    /// whoever stamps media knows what the poll said.
    fn take(&mut self) -> Vec<Item> {
        let held = self.unpolled().filter(|_| !self.closed);
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.items.front() {
            let size = match next {
                Item::Media(media) if Some(media.session) == held => break,
                Item::Media(media) => media.bytes.len(),
                Item::Control(_) => 0,
            };
            let full = batch.len() == BATCH_RECORDS || bytes + size > BATCH_BYTES;
            if full && !batch.is_empty() {
                break;
            }
            let Some(item) = self.items.pop_front() else { break };
            (self.bytes, bytes) = (self.bytes - size, bytes + size);
            let was_poll = matches!(item, Item::Control(Control::ClockPoll(_)));
            batch.push(item);
            if was_poll {
                break;
            }
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use lsie_schemas::record::Subjects;
    use proptest::prelude::*;

    use super::*;

    const A: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a001);
    const B: Uuid = Uuid::from_u128(0x0b1f_8f5e_6f0e_4c55_9d3c_6d1d_5bb0_a002);

    fn start(session_id: Uuid) -> StartSession {
        StartSession {
            session_id,
            streams: vec![Stream::Audio, Stream::Video],
            subjects: Subjects::default(),
            watched_account: None,
            source_url: "capture:phone".into(),
            experiment_id: "greeting_line_v1".into(),
            client_action_id: None,
        }
    }

    fn queue(most_bytes: usize) -> Queue {
        let mut queue = Queue { most_bytes, ..Queue::default() };
        queue.begin(&start(A), &BTreeMap::new(), false);
        queue
    }

    fn bytes(length: usize) -> Bytes {
        Bytes::from(vec![7; length])
    }

    /// A word for each item of all batches, `/` between batches.
    fn taken(queue: &mut Queue) -> String {
        let word = |item: &Item| match item {
            Item::Media(media) => format!("{}{}", &media.stream.name()[..1], media.seq),
            Item::Control(Control::Gap(gap)) => {
                format!("gap({}{}+{},{})", &gap.stream.name()[..1], gap.from_seq, gap.records, gap.bytes)
            }
            Item::Control(Control::ClockPoll(_)) => "poll".into(),
            Item::Control(Control::Start(_)) => "start".into(),
            Item::Control(_) => "end".into(),
        };
        let batches = std::iter::from_fn(|| Some(queue.take()).filter(|batch| !batch.is_empty()));
        let words = batches.map(|batch| batch.iter().map(word).collect::<Vec<_>>().join(" "));
        words.collect::<Vec<_>>().join(" / ")
    }

    #[test]
    fn media_wait_for_the_first_poll_and_follow_it() {
        let mut queue = queue(100);
        assert_eq!(queue.media(Stream::Audio, 1, false, bytes(2)), Taken::Queued);
        assert_eq!(taken(&mut queue), "");
        queue.poll(2, 3, None);
        queue.media(Stream::Audio, 4, false, bytes(2));
        queue.poll(5, 6, Some(7));
        queue.media(Stream::Audio, 8, false, bytes(2));
        assert_eq!(taken(&mut queue), "poll / a0 a1 poll / a2");
    }

    #[test]
    fn video_begins_with_a_key_frame_also_after_a_break() {
        let mut queue = queue(100);
        queue.poll(0, 0, None);
        assert_eq!(queue.media(Stream::Video, 1, false, bytes(2)), Taken::NoKeyFrame);
        queue.media(Stream::Video, 2, true, bytes(2));
        queue.media(Stream::Video, 3, false, bytes(2));
        queue.broken(Stream::Video, 5);
        queue.media(Stream::Video, 4, true, bytes(2));
        assert_eq!(taken(&mut queue), "poll / v0 v1 gap(v2+0,5) v2");
    }

    #[test]
    fn a_full_buffer_drops_until_half_is_free_and_says_how_much() {
        let mut queue = queue(10);
        queue.poll(0, 0, None);
        let offered =
            [true, false, false, false, true].map(|key| queue.media(Stream::Video, 1, key, bytes(4)));
        use Taken::*;
        assert_eq!(offered, [Queued, Queued, Dropped, Dropped, Dropped]);
        assert_eq!(taken(&mut queue), "poll / v0 v1");
        assert_eq!(queue.media(Stream::Video, 2, false, bytes(4)), Dropped, "no key frame");
        assert_eq!(queue.media(Stream::Video, 2, true, bytes(4)), Queued);
        assert_eq!(taken(&mut queue), "gap(v2+4,16) v6");
    }

    #[test]
    fn a_session_takes_what_was_captured_before_its_end_and_a_new_one_begins_at_0() {
        let mut queue = queue(100);
        queue.poll(0, 0, None);
        queue.media(Stream::Audio, 1, false, bytes(2));
        queue.end_at(A, 10);
        assert_eq!(queue.media(Stream::Audio, 10, false, bytes(2)), Taken::Queued);
        assert_eq!(queue.media(Stream::Audio, 11, false, bytes(2)), Taken::Outside);
        queue.poll(11, 11, None);
        assert_eq!(queue.session(), None, "it is over at the first poll after its end");
        queue.begin(&start(B), &BTreeMap::from([(Stream::Audio, 40)]), true);
        queue.poll(0, 0, None);
        queue.media(Stream::Audio, 12, false, bytes(2));
        queue.end();
        assert_eq!(queue.media(Stream::Audio, 13, false, bytes(2)), Taken::Outside);
        assert_eq!(taken(&mut queue), "poll / a0 a1 start poll / a40 end");
    }

    #[test]
    fn one_that_is_replaced_without_an_end_gets_one() {
        let mut queue = queue(100);
        queue.poll(0, 0, None);
        queue.media(Stream::Audio, 1, false, bytes(2));
        queue.broken(Stream::Audio, 1);
        queue.begin(&start(B), &BTreeMap::new(), false);
        assert_eq!(taken(&mut queue), "poll / a0 gap(a1+0,1) end");
    }

    proptest! {
        /// Whatever comes in is on its way or in a gap record, and the buffer keeps its bound.
        #[test]
        fn bytes_in_are_bytes_out_or_said_to_be_missing(
            script in prop::collection::vec((any::<bool>(), any::<bool>(), 1usize..9, any::<bool>()), 1..120)
        ) {
            let mut queue = queue(20);
            queue.poll(0, 0, None);
            let (mut offered, mut out, mut missing) = (0, 0, 0);
            let mut sum = |batch: Vec<Item>| for item in batch {
                match item {
                    Item::Media(media) => out += media.bytes.len() as u64,
                    Item::Control(Control::Gap(gap)) => missing += gap.bytes,
                    Item::Control(_) => {}
                }
            };
            for (video, key, length, take) in script {
                let stream = if video { Stream::Video } else { Stream::Audio };
                let taken = queue.media(stream, 0, key, bytes(length));
                offered += if matches!(taken, Taken::Queued | Taken::Dropped) { length as u64 } else { 0 };
                prop_assert!(queue.bytes <= 20);
                if take { sum(queue.take()); }
            }
            queue.close();
            loop {
                let batch = queue.take();
                if batch.is_empty() { break; }
                sum(batch);
            }
            prop_assert_eq!((offered, queue.bytes), (out + missing, 0));
        }
    }
}
