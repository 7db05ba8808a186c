//! Reactions under the laws: frames and the words of alignment, in scripts that alignment itself could say.

use lsie_operators::align::{Aligned, ClosedSegment, Rule};
use lsie_operators::measure::{Fact, Input, Measure};
use lsie_schemas::row::FaceRow;
use lsie_schemas::{EventTime, LogTime, Real};
use proptest::prelude::*;
use uuid::Uuid;

use crate::laws::{Script, order_changes_nothing, restarts_in_pieces_change_nothing, run};

const ANCHOR: EventTime = EventTime(1_767_607_200_000_000);
const EPOCH_US: i64 = 500_000;
const EPOCHS: i64 = 150;
const FRAME_US: i64 = 100_000;
/// Alignment settles event time this far behind.
const LATENESS_US: i64 = 2_000_000;

fn session(number: u128) -> Uuid {
    Uuid::from_u128(0x3f2b8c1e_5a4d_4e6f_8a9b_0c1d2e3f0000 + number)
}

fn action(session: Uuid, number: i64) -> Uuid {
    Uuid::from_u128(session.as_u128() ^ (number as u128 + 1) << 64)
}

/// What a session's face does, and at which epochs it is greeted.
#[derive(Clone, Debug)]
struct Life {
    /// Ratio of each frame, over and over; none: no face.
    ratios: Vec<Option<f64>>,
    greeted: Vec<i64>,
    /// Frames come so many epochs after they were captured.
    late: i64,
}

prop_compose! {
    fn life()(
        ratios in prop::collection::vec(prop::option::weighted(0.9, 0.5f64..1.5), 1..40),
        greeted in prop::collection::btree_set(4i64..EPOCHS - 20, 0..4),
        late in 0i64..4,
    ) -> Life {
        // Alignment accepts no stimulus within another one's measurement.
        let mut apart: Vec<i64> = Vec::new();
        for epoch in greeted {
            if apart.last().is_none_or(|last| epoch >= last + 10) {
                apart.push(epoch);
            }
        }
        Life { ratios, greeted: apart, late }
    }
}

fn script(lives: &[Life]) -> Script<Input> {
    let line = |number: i64| {
        let mut inputs = Vec::new();
        for (index, life) in lives.iter().enumerate() {
            happen(session(index as u128), life, number, &mut inputs);
        }
        (LogTime((ANCHOR.0 / 1_000 + number * EPOCH_US / 1_000) as u64), inputs)
    };
    (1..=EPOCHS).map(line).collect()
}

fn happen(id: Uuid, life: &Life, epoch: i64, out: &mut Vec<Input>) {
    let now = ANCHOR.plus_us(epoch * EPOCH_US);
    if epoch == 1 {
        let experiment = "greeting_line_v1".to_string();
        out.push(Input::Aligned(Aligned::Anchored { session: id, experiment, anchor: ANCHOR }));
    }
    if let Some(captured) = Some(epoch - life.late).filter(|captured| *captured > 0) {
        let per_epoch = EPOCH_US / FRAME_US;
        let frames = (captured - 1) * per_epoch..captured * per_epoch;
        out.extend(frames.map(|seq| Input::Face(frame(id, life, seq))));
    }
    if life.greeted.contains(&epoch) {
        let stimulus = Aligned::Stimulus { session: id, action: action(id, epoch), at: now, note: None };
        out.push(Input::Aligned(stimulus));
    }
    let settled = now.plus_us(-LATENESS_US);
    if settled > ANCHOR {
        out.push(Input::Aligned(Aligned::Settled { session: id, until: settled }));
    }
    if (settled.0 - ANCHOR.0) % 30_000_000 == 0 && settled > ANCHOR {
        out.push(Input::Aligned(Aligned::Closed(ClosedSegment {
            session: id,
            ordinal: (settled.0 - ANCHOR.0) / 30_000_000,
            anchor: ANCHOR,
            rule: Rule::Complete,
            evidence: None,
            streams: Vec::new(),
            audio_samples: 0,
            audio_sha256: String::new(),
        })));
    }
    if epoch == EPOCHS {
        out.push(Input::Aligned(Aligned::Ended { session: id, at: now }));
    }
}

fn frame(session_id: Uuid, life: &Life, seq: i64) -> FaceRow {
    let ratio = life.ratios[seq as usize % life.ratios.len()];
    FaceRow {
        session_id,
        seq,
        capture_utc: ANCHOR.plus_us(seq * FRAME_US),
        present: ratio.is_some(),
        ratio: ratio.and_then(Real::finite),
        reason: ratio.is_none().then(|| "no_face".into()),
        model: "test".into(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn restarts(lives in prop::collection::vec(life(), 1..3)) {
        restarts_in_pieces_change_nothing(Measure::default, &script(&lives));
    }

    #[test]
    fn order(
        lives in prop::collection::vec(life(), 1..3),
        turns in prop::collection::vec(0usize..8, 1..5),
    ) {
        order_changes_nothing(Measure::default, &script(&lives), &turns);
    }

    /// A frame that comes again before its time is settled is the same frame.
    #[test]
    fn duplicates(lives in prop::collection::vec(life(), 1..3)) {
        let script = script(&lives);
        let mut doubled = script.clone();
        for (_, inputs) in &mut doubled {
            let again: Vec<Input> = inputs.iter().filter(|i| matches!(i, Input::Face(_))).cloned().collect();
            inputs.extend(again);
        }
        prop_assert_eq!(run(Measure::default(), &doubled), run(Measure::default(), &script));
    }
}

/// The scripts are worth something: stimuli are measured on scored frames.
#[test]
fn the_scripts_measure_stimuli() {
    let life = Life { ratios: vec![Some(0.8), Some(1.1)], greeted: vec![30, 90], late: 1 };
    let facts: Vec<Fact> = run(Measure::default(), &script(&[life])).into_iter().flatten().collect();
    let measured: Vec<i64> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Measured(_, _, measured) => Some(measured.n_frames),
            _ => None,
        })
        .collect();
    assert_eq!(measured.len(), 2);
    assert!(measured.iter().all(|frames| *frames > 40), "{measured:?}");
}
