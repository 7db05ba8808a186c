//! The voice columns of table `metrics`: the acoustics of the recording's own sound, through the whole engine on a
//! real broker.

use lsie_connectors::feed::{Pace, session_id};
use lsie_operators::acoustics::Analyzer;
use lsie_operators::resample::Resampler;
use lsie_schemas::Topic;
use lsie_schemas::row::{MetricsRow, SegmentRow, StimulusRow};
use lsie_tests::harness::{Settings, TopicSet};
use lsie_tests::sessions::{RECORDED_AT, recording, records};

#[test]
fn the_voice_of_a_segment_is_measured() {
    let set = TopicSet::recorded("voice", 2);
    let timeline = records(&recording("short"), session_id("voice", 0), RECORDED_AT, 0);
    let (mut resampler, mut sound) = (Resampler::default(), Vec::new());
    for timed in timeline.iter().filter(|timed| timed.record.topic == Topic::AvAudio) {
        let pcm = timed.record.value.chunks_exact(2);
        let samples: Vec<i16> = pcm.map(|bytes| i16::from_le_bytes([bytes[0], bytes[1]])).collect();
        resampler.push(&samples, &mut sound);
    }
    set.feed(vec![timeline], Pace::Max);
    let tables = set.replay(Settings::WITH_MODELS).tables;

    let mut segments: Vec<SegmentRow> = tables.rows();
    segments.sort_by_key(|segment| segment.ordinal);
    let of = |segment: &SegmentRow| -> MetricsRow {
        let row = tables.rows::<MetricsRow>().into_iter().find(|row| row.segment_id == segment.segment_id);
        row.expect("a row for every segment")
    };
    let (first, second) = (of(&segments[0]), of(&segments[1]));

    // The session begins with its first sample: the sound of the first segment is the first so many samples.
    let heard = &sound[..segments[0].audio_samples as usize];
    let stimulus = tables.rows::<StimulusRow>()[0].stimulus_utc;
    let stimulus_s = (stimulus.0 - segments[0].window_start_utc.0) as f64 / 1e6;
    let expected = Analyzer::default().analyze(heard, 0.0, Some(stimulus_s));
    assert!(expected.f0_valid_measure, "somebody speaks after the stimulus");
    let value = |real: Option<lsie_schemas::Real>| real.map(|real| real.0);
    assert_eq!(value(first.pitch_f0), expected.pitch_f0);
    assert_eq!(value(first.jitter), expected.jitter);
    assert_eq!(value(first.shimmer), expected.shimmer);
    assert_eq!(first.f0_valid_measure, Some(expected.f0_valid_measure));
    assert_eq!(first.f0_valid_baseline, Some(expected.f0_valid_baseline));
    assert_eq!(value(first.voiced_coverage_measure_s), Some(expected.voiced_coverage_measure_s));
    assert_eq!(value(first.f0_mean_measure_hz), expected.f0_mean_measure_hz);
    assert_eq!(value(first.jitter_mean_measure), expected.jitter_mean_measure);
    assert_eq!(value(first.shimmer_mean_measure), expected.shimmer_mean_measure);
    assert_eq!(value(first.f0_delta_semitones), expected.f0_delta_semitones);

    // No stimulus: the default payload, without an analysis.
    assert_eq!((second.pitch_f0, second.f0_mean_measure_hz), (None, None));
    assert_eq!((second.f0_valid_measure, value(second.voiced_coverage_measure_s)), (Some(false), Some(0.0)));
}
