//! One run of each model on a known picture: a wrong file or a broken runtime stops the start, not a session.

use crate::runtime::{Model, ModelError};

/// Largest difference that another processor or library build may make; a wrong model differs by far more.
const TOLERANCE: f32 = 0.02;

/// Runs `model` on the pattern of `size` × `size` pixels and compares one element of each output (its index
/// and its value, from the pinned files). The inner error says what differs.
pub(super) fn check<const N: usize>(
    model: &mut Model,
    size: usize,
    value_of: impl Fn(u8) -> f32,
    expected: [(usize, f32); N],
) -> Result<Result<(), String>, ModelError> {
    let mut input = Vec::with_capacity(size * size * 3);
    for channel in 0..3 {
        for y in 0..size {
            for x in 0..size {
                input.push(value_of(((x * x + y * y) / size + 85 * channel) as u8));
            }
        }
    }
    model.run(&input, |outputs: [&[f32]; N]| {
        for (number, (output, (at, value))) in outputs.iter().zip(expected).enumerate() {
            let got = output.get(at).copied().unwrap_or(f32::NAN);
            let equal = (got - value).abs() <= TOLERANCE;
            if !equal {
                return Err(format!(
                    "the self-test gives {got} for element {at} of output {number}, not {value}"
                ));
            }
        }
        Ok(())
    })
}
