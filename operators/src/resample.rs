//! Streaming 48 kHz → 16 kHz conversion of s16 mono audio (mathematics §4): exactly 3:1, linear phase, integer.
//!
//! A filter of our own, because the well-kept crate for it, rubato, converts a fixed ratio through
//! floating-point FFTs whose kernels the processor chooses. Here every output sample is one integer dot
//! product centred on its own input sample, so neither the machine nor the chunking of the input can reach a
//! result.
//!
//! Measured by `tests/resample.rs`: ripple below 0.02 dB up to 7 kHz, at least 64 dB down from 8 kHz on.

use std::f64::consts::PI;
use std::sync::LazyLock;

/// Input rate, Hz (mathematics §4).
pub const INPUT_HZ: u32 = 48_000;
/// Output rate, Hz (mathematics §4).
pub const OUTPUT_HZ: u32 = 16_000;
/// Input samples per output sample.
pub const RATIO: u64 = (INPUT_HZ / OUTPUT_HZ) as u64;

/// Taps on each side of the centre: 191 taps make a transition band from 7 to 8 kHz at about 66 dB.
const HALF: usize = 95;
/// Middle of the transition band, Hz.
const CUTOFF_HZ: f64 = 7_500.0;
/// Kaiser window shape for about 66 dB.
const KAISER_BETA: f64 = 6.3;
/// Taps, with a zero before the first, so that they divide into what processors multiply at once.
const TAPS: usize = 2 * HALF + 2;
/// Taps are 16-bit integers of this many fractional bits, which sum to exactly one. Rounding them costs less
/// than the window leaves.
const TAP_BITS: u32 = 15;
/// Products of so many taps are summed in 32 bits before they are widened.
const BLOCK: usize = TAPS / 2;
/// Sums that are taken beside each other; a block is a multiple of it.
const LANES: usize = 8;
/// Consumed input is dropped from the buffer once this many samples of it have gathered.
const COMPACT_AT: usize = 4_096;

/// Converts one stream. Output sample `k` belongs to the instant of input sample `3·k`: the delay of the
/// filter is taken out, and samples before the first and after the last input count as zero.
///
/// ```
/// use lsie_operators::resample::Resampler;
///
/// let mut resampler = Resampler::default();
/// let mut out = Vec::new();
/// resampler.push(&[100; 480], &mut out);
/// resampler.finish(&mut out);
/// assert_eq!(out.len(), 160);
/// ```
#[derive(Debug, Clone)]
pub struct Resampler {
    /// Input samples, from `start` on still needed; begins with the zeros before the first sample.
    buffer: Vec<i16>,
    /// Where in `buffer` the window of the next output sample begins.
    start: usize,
    samples_in: u64,
    samples_out: u64,
}

impl Default for Resampler {
    fn default() -> Self {
        Resampler { buffer: vec![0; HALF + 1], start: 0, samples_in: 0, samples_out: 0 }
    }
}

impl Resampler {
    /// A resampler that has taken `samples_in` samples, none of which it remembers: outputs are those of one
    /// that remembers from the first on whose window begins behind them, 2 ms further.
    pub fn resumed(samples_in: u64) -> Resampler {
        let samples_out = samples_in.div_ceil(RATIO);
        // The window of the next output begins HALF + 1 before its own sample.
        let ahead = (samples_out * RATIO - samples_in) as usize;
        Resampler { buffer: vec![0; HALF + 1 - ahead], start: 0, samples_in, samples_out }
    }

    /// Takes the next input samples (48 kHz) and appends every output sample (16 kHz) that they complete.
    pub fn push(&mut self, samples: &[i16], out: &mut Vec<i16>) {
        self.samples_in += samples.len() as u64;
        // In pieces, so that the buffer stays small whatever the caller hands over.
        for piece in samples.chunks(COMPACT_AT) {
            self.buffer.extend_from_slice(piece);
            self.convert(out);
        }
    }

    /// Ends the stream: appends the outputs still held back by the filter, `ceil(samples_in / 3)` in all, and
    /// leaves a fresh resampler behind.
    pub fn finish(&mut self, out: &mut Vec<i16>) {
        self.buffer.extend_from_slice(&[0; HALF]);
        self.convert(out);
        *self = Resampler::default();
    }

    /// Input samples taken so far.
    pub fn samples_in(&self) -> u64 {
        self.samples_in
    }

    /// Output samples given so far: the next one belongs to input sample `3 · samples_out()`.
    pub fn samples_out(&self) -> u64 {
        self.samples_out
    }

    fn convert(&mut self, out: &mut Vec<i16>) {
        let taps = &*ROUNDED_TAPS;
        let windows = self.buffer[self.start..].windows(TAPS).step_by(RATIO as usize);
        let known = out.len();
        out.extend(windows.map(|window| filter(window, taps)));
        let given = out.len() - known;
        self.start += given * RATIO as usize;
        self.samples_out += given as u64;
        if self.start >= COMPACT_AT {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
    }
}

/// One output sample: the dot product, rounded half up, saturated.
fn filter(window: &[i16], taps: &[i16; TAPS]) -> i16 {
    let blocks = window.chunks_exact(BLOCK).zip(taps.chunks_exact(BLOCK));
    let sum: i64 = blocks.map(|(window, taps)| i64::from(dot(window, taps))).sum();
    let rounded = (sum + (1 << (TAP_BITS - 1))) >> TAP_BITS;
    rounded.clamp(i64::from(i16::MIN), i64::from(i16::MAX)) as i16
}

/// Never overflows: the taps of a block add up to less than 2^16 (a test checks it). So the loop needs no
/// checks, and sums of integers may be taken apart: into as many as a processor adds at once.
fn dot(samples: &[i16], taps: &[i16]) -> i32 {
    let mut sums = [0_i32; LANES];
    for (samples, taps) in samples.as_chunks::<LANES>().0.iter().zip(taps.as_chunks::<LANES>().0) {
        for ((sum, sample), tap) in sums.iter_mut().zip(samples).zip(taps) {
            *sum = sum.wrapping_add(i32::from(*sample) * i32::from(*tap));
        }
    }
    sums.into_iter().fold(0, i32::wrapping_add)
}

static ROUNDED_TAPS: LazyLock<[i16; TAPS]> = LazyLock::new(|| taps().map(|tap| tap as i16));

fn taps() -> [i32; TAPS] {
    let ideal: Vec<f64> = (0..=HALF).map(|distance| windowed_sinc(distance as f64)).collect();
    let total = ideal[0] + 2.0 * ideal[1..].iter().sum::<f64>();
    let scale = f64::from(1 << TAP_BITS) / total;
    let center = HALF + 1;
    let mut taps = [0; TAPS];
    for distance in 1..=HALF {
        let tap = (ideal[distance] * scale).round() as i32;
        taps[center - distance] = tap;
        taps[center + distance] = tap;
    }
    // What rounding left over goes to the centre, so that a constant input stays exactly the same constant.
    taps[center] = (1 << TAP_BITS) - taps.iter().sum::<i32>();
    taps
}

fn windowed_sinc(distance: f64) -> f64 {
    let ratio = distance / (HALF as f64);
    let window = bessel_i0(KAISER_BETA * (1.0 - ratio * ratio).max(0.0).sqrt());
    let omega = 2.0 * PI * CUTOFF_HZ / f64::from(INPUT_HZ);
    let sinc = if distance == 0.0 { omega } else { (omega * distance).sin() / distance };
    window * sinc
}

/// Modified Bessel function of the first kind, order 0, by its power series.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..=40 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pins the taps: they are computed with `sin`, and a platform whose `sin` rounds one of them otherwise
    /// would give other audio.
    #[test]
    fn taps_are_pinned() {
        let taps = taps();
        let fold =
            taps.iter().fold(0u64, |hash, &tap| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(tap as u32));
        assert_eq!((taps[0], taps[1], taps[HALF + 1], fold), (0, -1, 10_240, 3_247_913_119_136_595_544));
    }

    #[test]
    fn taps_fit_16_bits_and_blocks_32() {
        let taps = taps();
        assert!(taps.iter().all(|tap| i16::try_from(*tap).is_ok()));
        for block in taps.chunks_exact(BLOCK) {
            assert!(block.iter().map(|tap| tap.unsigned_abs()).sum::<u32>() < 1 << 16);
        }
        assert_eq!(taps.iter().sum::<i32>(), 1 << TAP_BITS);
        assert_eq!(BLOCK % LANES, 0);
    }
}
