//! The real face models over a recorded stream.

use lsie_operators::decode::DEFAULT_MAX_PIXELS;
use lsie_operators::face::FaceModels;
use lsie_operators::measure_face::{FaceMeter, Measured};

use crate::common::Unit;
use crate::folder::models_folder;

/// Fails the test, with the mend in its message, when the models are not there.
pub(crate) fn models() -> FaceModels {
    FaceModels::load(&models_folder()).unwrap_or_else(|error| panic!("{error}"))
}

/// Every frame of a stream in which no unit is refused.
pub(crate) fn measure(units: &[Unit], models: &mut FaceModels) -> Vec<Measured> {
    let mut meter = FaceMeter::new(DEFAULT_MAX_PIXELS).expect("libavcodec decodes H.264");
    let mut measured = Vec::new();
    for unit in units {
        let pushed = meter.push(&unit.bytes, unit.capture_us, unit.key_frame, models);
        assert_eq!(pushed.rejected, None);
        measured.extend(pushed.measured);
    }
    measured.extend(meter.finish(models));
    measured
}
