//! Utterances under the laws: sessions as alignment tells them, and answers that come, fail, come twice or are wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use lsie_operators::align::{Aligned, Arrived};
use lsie_operators::logic::Logic;
use lsie_operators::utterance::{Input, Output, Request, Utterances};
use lsie_schemas::log::{LogRecord, TopicPartition};
use lsie_schemas::record::{Answer, Heard, HeardWord, Inference, NoAnswer, Record, Stream};
use lsie_schemas::{LogTime, Real, Topic};
use proptest::prelude::*;

use crate::align::{self, Fate, Life, life};
use crate::laws::{Script, order_changes_nothing, restarts_change_nothing, run};

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Comes,
    CameInTheRun,
    Fails,
    Twice,
    /// It is about other sound, and then comes.
    Confused,
    Never,
}

fn reply() -> impl Strategy<Value = (Reply, usize)> {
    let reply = prop_oneof![
        4 => Just(Reply::Comes),
        2 => Just(Reply::CameInTheRun),
        1 => Just(Reply::Fails),
        1 => Just(Reply::Twice),
        1 => Just(Reply::Confused),
        1 => Just(Reply::Never),
    ];
    (reply, 1usize..12)
}

/// The words of alignment over a script of its own, and the records that a restart would read again.
fn unanswered(lives: &[Life]) -> Script<Input> {
    let records = align::script(lives);
    let words = run(align::make(), &records);
    let mut script = Vec::new();
    for ((epoch, records), words) in records.into_iter().zip(words) {
        let mut inputs: Vec<Input> = words.into_iter().map(Input::Aligned).collect();
        let sound = |arrived: &Arrived| matches!(arrived.record, Record::Audio(_));
        inputs.extend(
            records
                .into_iter()
                .filter(sound)
                .map(|arrived| Input::Aligned(Aligned::Sound(Arc::new(arrived)))),
        );
        script.push((epoch, inputs));
    }
    script
}

fn asked(script: &Script<Input>) -> Vec<(usize, Request)> {
    let said = run(Utterances::default(), script);
    let requests = |(line, said): (usize, Vec<Output>)| {
        said.into_iter().filter_map(move |output| match output {
            Output::Ask(request) => Some((line, request)),
            _ => None,
        })
    };
    said.into_iter().enumerate().flat_map(requests).collect()
}

/// A script with answers: the fates of requests in their order, over and over.
fn script(lives: &[Life], replies: &[(Reply, usize)]) -> Script<Input> {
    let mut script = unanswered(lives);
    let mut offset = 0;
    for (number, (line, request)) in asked(&script).into_iter().enumerate() {
        let (reply, delay) = replies[number % replies.len()];
        let at = line + delay;
        let mut put = |line: usize, inference: Inference, in_run: bool| {
            let Some((epoch, inputs)) = script.get_mut(line) else { return };
            offset += 1;
            inputs.push(if in_run { Input::Answered(inference) } else { record(*epoch, offset, inference) });
        };
        match reply {
            Reply::Comes => put(at, answer(&request), false),
            Reply::CameInTheRun => put(at, answer(&request), true),
            Reply::Fails => {
                put(at, Inference { answer: Answer::None(NoAnswer::Deadline), ..answer(&request) }, false);
            }
            Reply::Twice => {
                put(at, answer(&request), false);
                put(at + 1, answer(&request), false);
            }
            Reply::Confused => {
                put(at, Inference { input_sha256: "0".repeat(64), ..answer(&request) }, false);
                put(at + 2, answer(&request), false);
            }
            Reply::Never => {}
        }
    }
    script
}

/// A word for every second of the sound.
fn answer(request: &Request) -> Inference {
    let words = (0..request.sound.len() as i64 / 16_000).map(|second| HeardWord {
        text: format!("word\u{0}{second}"),
        from_us: request.start.plus_us(second * 1_000_000),
        to_us: request.start.plus_us(second * 1_000_000 + 700_000),
        confidence: Real(0.5),
    });
    let heard = Heard { text: "some words\n".into(), language: "en".into(), words: words.collect() };
    Inference {
        session_id: request.session,
        request_id: request.id.clone(),
        ordinal: request.ordinal,
        input_sha256: request.input_sha256.clone(),
        model: "test".into(),
        answer: Answer::Heard(heard),
    }
}

fn record(epoch: LogTime, offset: i64, inference: Inference) -> Input {
    let record = inference.encode(None);
    let raw = LogRecord {
        at: TopicPartition { topic: Topic::Inference, partition: 0 },
        offset,
        log_time: epoch,
        key: Some(record.key),
        value: record.value,
        headers: Vec::new(),
    };
    Input::Aligned(Aligned::Answer(Arc::new(Arrived { raw, record: Record::Inference(inference) })))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn restarts(
        lives in prop::collection::vec(life(), 1..3),
        replies in prop::collection::vec(reply(), 1..6),
    ) {
        restarts_change_nothing(Utterances::default, &script(&lives, &replies));
    }

    #[test]
    fn order(
        lives in prop::collection::vec(life(), 1..3),
        replies in prop::collection::vec(reply(), 1..6),
        turns in prop::collection::vec(0usize..8, 1..5),
    ) {
        order_changes_nothing(Utterances::default, &script(&lives, &replies), &turns);
    }

    /// Answers that come again, whenever, are duplicates and change nothing else.
    #[test]
    fn duplicates(
        lives in prop::collection::vec(life(), 1..3),
        replies in prop::collection::vec(reply(), 1..6),
        later in 0usize..9,
    ) {
        let script = script(&lives, &replies);
        let mut doubled = script.clone();
        for line in later..script.len() {
            let again = script[line - later].1.iter().filter_map(|input| match input {
                Input::Aligned(Aligned::Answer(arrived)) => {
                    let mut arrived = Arrived::clone(arrived);
                    arrived.raw.offset += 1_000_000;
                    Some(Input::Aligned(Aligned::Answer(Arc::new(arrived))))
                }
                _ => None,
            });
            doubled[line].1.extend(again);
        }
        let result = |output: &Output| !matches!(output, Output::Classified(_) | Output::Dead(_));
        let results = |script: &Script<Input>| -> Vec<Vec<Output>> {
            let said = run(Utterances::default(), script).into_iter();
            said.map(|said| said.into_iter().filter(result).collect()).collect()
        };
        prop_assert_eq!(results(&doubled), results(&script));
    }

    /// After a restart anywhere, the requests that are open can be made again from the records, sample by sample.
    #[test]
    fn open_requests_are_made_again(
        lives in prop::collection::vec(life(), 1..3),
        replies in prop::collection::vec(reply(), 1..6),
    ) {
        let script = script(&lives, &replies);
        let mut first = Utterances::default();
        let mut open: BTreeMap<String, (LogTime, Request)> = BTreeMap::new();
        for (line, (epoch, inputs)) in script.iter().enumerate() {
            let bytes = serde_json::to_vec(&first.snapshot()).expect("a snapshot can be written");
            let mut second = Utterances::default();
            second.restore(serde_json::from_slice(&bytes).expect("a snapshot can be read"));
            if let Some(from) = second.rewind() {
                for (epoch, inputs) in script[..line].iter().filter(|(epoch, _)| *epoch >= from) {
                    second.rebuild(*epoch, inputs.clone(), &mut Vec::new());
                }
            }
            let again: BTreeMap<String, (LogTime, Request)> =
                second.unanswered().into_iter().map(|asked| (asked.1.id.clone(), asked)).collect();
            prop_assert!(again == open, "before line {}", line);
            let mut said = Vec::new();
            first.on_epoch(*epoch, inputs.clone(), &mut said);
            for output in said {
                match output {
                    Output::Ask(request) => drop(open.insert(request.id.clone(), (*epoch, request))),
                    Output::Answered(id) => drop(open.remove(&id)),
                    _ => {}
                }
            }
        }
    }
}

fn plain_life() -> Life {
    Life { start: 3, end: 75, offset_ms: 700, fates: vec![Fate::Arrives], streams: vec![Stream::Audio] }
}

/// The scripts are worth something: both segments are asked about, and what is said to stimuli is known.
#[test]
fn the_scripts_say_something() {
    let script = script(&[plain_life()], &[(Reply::Comes, 2)]);
    let said: Vec<Output> = run(Utterances::default(), &script).into_iter().flatten().collect();
    let count = |wanted: fn(&Output) -> bool| said.iter().filter(|output| wanted(output)).count();
    assert_eq!(count(|output| matches!(output, Output::Ask(_))), 2);
    assert_eq!(count(|output| matches!(output, Output::Transcript(row) if row.text == "some words")), 2);
    assert_eq!(count(|output| matches!(output, Output::Said(..))), 3);
    assert_eq!(count(|output| matches!(output, Output::Inference(row) if row.answer.is_some())), 2);
    let Some(Output::Said(_, _, first)) = said.iter().find(|output| matches!(output, Output::Said(..)))
    else {
        panic!("something was said")
    };
    assert!(first.text.starts_with("word 6 word 7"), "{first:?}");
}

/// A request that is never answered says nothing; nor does one that failed.
#[test]
fn without_an_answer_nothing_is_said() {
    for reply in [Reply::Never, Reply::Fails] {
        let said = run(Utterances::default(), &script(&[plain_life()], &[(reply, 1)]));
        assert!(!said.into_iter().flatten().any(|output| matches!(output, Output::Said(..))), "{reply:?}");
    }
}

/// A snapshot holds no media.
#[test]
fn a_snapshot_is_small() {
    let mut utterances = Utterances::default();
    for (epoch, inputs) in script(&[plain_life()], &[(Reply::Never, 1)]) {
        utterances.on_epoch(epoch, inputs, &mut Vec::new());
        let bytes = serde_json::to_vec(&utterances.snapshot()).expect("a snapshot can be written");
        assert!(bytes.len() < 8_000, "{} bytes", bytes.len());
    }
}
