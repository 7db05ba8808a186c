//! Rounding to decimals, half to even on the exact value of the double (mathematics §1).

/// The value rounded to `decimals` places. A value that is not finite stays what it is.
///
/// The text of a double with a fixed number of places is its exact value, rounded half to even; what reads back
/// is the double nearest to that decimal.
///
/// ```
/// use lsie_operators::round::to_decimals;
/// // 0.15 is a little less than its decimal, 0.25 is exact.
/// assert_eq!((to_decimals(0.15, 1), to_decimals(0.25, 1), to_decimals(0.35, 1)), (0.1, 0.2, 0.3));
/// ```
pub fn to_decimals(value: f64, decimals: usize) -> f64 {
    format!("{value:.decimals$}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Halves that a double holds exactly go to the even neighbour; all others are no halves.
    #[test]
    fn halves_go_to_even() {
        let cases = [
            (0.5, 0, 0.0),
            (1.5, 0, 2.0),
            (2.5, 0, 2.0),
            (3.5, 0, 4.0),
            (-2.5, 0, -2.0),
            (0.125, 2, 0.12),
            (0.375, 2, 0.38),
            (0.0625, 3, 0.062),
            (0.1875, 3, 0.188),
            (1_000_000.062_5, 3, 1_000_000.062),
            (2.675, 2, 2.67),
            (1.005, 2, 1.0),
            (15.545953, 3, 15.546),
            (f64::MAX, 3, f64::MAX),
            (f64::MIN_POSITIVE, 3, 0.0),
        ];
        for (value, decimals, rounded) in cases {
            assert_eq!(to_decimals(value, decimals), rounded, "{value} to {decimals}");
        }
        assert!(to_decimals(f64::NAN, 3).is_nan());
        assert_eq!(to_decimals(f64::NEG_INFINITY, 1), f64::NEG_INFINITY);
    }

    proptest! {
        /// Multiples of 1/16 are exact, and so are they times 1000: whole numbers decide.
        #[test]
        fn sixteenths_round_as_whole_numbers_do(sixteenths in -1_000_000_000i64..1_000_000_000) {
            let (value, scaled) = (sixteenths as f64 / 16.0, sixteenths as f64 * 62.5);
            prop_assert_eq!(to_decimals(value, 3), scaled.round_ties_even() / 1000.0);
        }

        #[test]
        fn rounding_moves_by_half_a_place_and_is_idempotent(value in -1e9..1e9f64) {
            let rounded = to_decimals(value, 3);
            prop_assert!((rounded - value).abs() <= 0.000_500_2);
            prop_assert_eq!(to_decimals(rounded, 3), rounded);
        }

        #[test]
        fn nothing_panics(value in any::<f64>(), decimals in 0usize..20) {
            prop_assert_eq!(to_decimals(value, decimals).is_nan(), value.is_nan());
        }
    }
}
