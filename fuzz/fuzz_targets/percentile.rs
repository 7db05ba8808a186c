//! Percentiles of any numbers: none, or a value between the extremes of the finite ones.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lsie_operators::percentile::percentile;

fuzz_target!(|input: (Vec<f64>, f64)| {
    let (values, p) = input;
    if let Some(value) = percentile(&values, p) {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let (least, most) =
            finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x)));
        assert!((least..=most).contains(&value), "{value}");
    }
});
