//! Where the sound of a segment is cut for transcription: in its last pause, so that no word is cut in two.
//!
//! Of the last 10 s of the window, the middle of the latest 200 ms that are hardly louder than the quietest
//! 200 ms among them. There always is such a place; whole numbers decide, so that it is the same everywhere.
//! What lies behind it is transcribed with the next segment: with the 30 s of that one, 40 s at most.

use super::windows::SEGMENT_SAMPLES;

/// Samples of a frame: 10 ms.
const FRAME: usize = 160;
/// Frames of a pause: 200 ms.
const PAUSE: usize = 20;
/// Samples in which a pause is looked for: 10 s.
const SEARCHED: usize = 160_000;
/// Energies up to so many times the quietest count as quiet (6 dB).
const HARDLY_LOUDER: u64 = 4;
/// Added to every energy: one step of loudness for each sample, so that in digital silence noise of one step is
/// silence, too.
const FLOOR: u64 = (FRAME * PAUSE) as u64;

/// The sample of the window at which to cut. `sound` begins at sample `first` of it; where there is none, there
/// is silence.
pub(super) fn last_pause(first: usize, sound: &[i16]) -> usize {
    let from = SEGMENT_SAMPLES - SEARCHED;
    if first + sound.len() <= from {
        return SEGMENT_SAMPLES;
    }
    let sample = |at: usize| at.checked_sub(first).and_then(|at| sound.get(at)).copied().unwrap_or(0);
    let energy = |frame: usize| -> u64 {
        let samples = (from + frame * FRAME..from + (frame + 1) * FRAME).map(sample);
        samples.map(|sample| u64::from(sample.unsigned_abs()).pow(2)).sum()
    };
    let frames: Vec<u64> = (0..SEARCHED / FRAME).map(energy).collect();
    let pauses: Vec<u64> = frames.windows(PAUSE).map(|frames| frames.iter().sum::<u64>() + FLOOR).collect();
    let quietest = pauses.iter().min().copied().unwrap_or_default();
    let latest = pauses.iter().rposition(|energy| *energy <= HARDLY_LOUDER * quietest).unwrap_or_default();
    if latest + 1 == pauses.len() && sound_is_over(first, sound) {
        return SEGMENT_SAMPLES;
    }
    from + (latest + PAUSE / 2) * FRAME
}

/// Whether not even quiet sound reaches the end of the window.
fn sound_is_over(first: usize, sound: &[i16]) -> bool {
    first + sound.len() + FRAME * PAUSE <= SEGMENT_SAMPLES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Loud everywhere but in these spans of samples.
    fn loud_but(quiet: &[(usize, usize)]) -> Vec<i16> {
        let loud = |at: usize| if at.is_multiple_of(2) { 9_000 } else { -9_000 };
        let mut sound: Vec<i16> = (0..SEGMENT_SAMPLES).map(loud).collect();
        for (from, to) in quiet {
            sound[*from..*to].iter_mut().for_each(|sample| *sample /= 300);
        }
        sound
    }

    #[test]
    fn the_latest_pause_of_several_is_cut_in_its_middle() {
        let cut = last_pause(0, &loud_but(&[(350_000, 358_000), (440_000, 443_200), (100_000, 200_000)]));
        assert_eq!(cut, 441_600);
    }

    #[test]
    fn silence_to_the_end_is_cut_shortly_before_it() {
        assert_eq!(last_pause(0, &loud_but(&[(400_000, SEGMENT_SAMPLES)])), SEGMENT_SAMPLES - 1_600);
    }

    #[test]
    fn sound_that_is_over_before_is_not_cut() {
        assert_eq!(last_pause(0, &[]), SEGMENT_SAMPLES);
        assert_eq!(last_pause(0, &loud_but(&[])[..470_000]), SEGMENT_SAMPLES);
        assert_eq!(last_pause(300_000, &[5_000; 8_000]), SEGMENT_SAMPLES);
    }

    #[test]
    fn one_who_never_pauses_is_cut_where_least_is_said() {
        assert!((SEGMENT_SAMPLES - SEARCHED..=SEGMENT_SAMPLES).contains(&last_pause(0, &loud_but(&[]))));
        // Nothing of it overflows.
        last_pause(0, &vec![i16::MIN; SEGMENT_SAMPLES]);
    }

    proptest! {
        #[test]
        fn a_cut_lies_in_the_last_ten_seconds_at_a_frame(
            first in 0..SEGMENT_SAMPLES,
            sound in prop::collection::vec(any::<i16>(), 0..20_000),
        ) {
            let cut = last_pause(first, &sound);
            prop_assert!((SEGMENT_SAMPLES - SEARCHED..=SEGMENT_SAMPLES).contains(&cut));
            prop_assert_eq!(cut % FRAME, 0);
        }
    }
}
