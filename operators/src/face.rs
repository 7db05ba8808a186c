//! Faces in video: one detection, then tracking from frame to frame, 478 landmarks each (mathematics §5).
//!
//! The graph of MediaPipe's FaceMesh with refined landmarks, video mode, one face, both confidences 0.5:
//! detector → region → landmarks → region of the next frame. The detector runs again in the frame after a
//! face was lost. What the graph does not do: where the detector sees no face, it looks for a small one in one part of
//! the picture a frame, so that a face of 8 % of the width is found within 8 frames (16:9) to 16 (square). Geometry is in double precision and free of trigonometry, which differs between machines.

mod crop;
mod detect;
mod image;
mod mesh;
mod points;
mod region;
mod self_test;

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use self::image::RgbImage;
pub use self::mesh::Landmarks;
use self::region::Region;
use crate::runtime::{Model, ModelError, ModelInfo, RUNTIME_FILE, Runtime};

/// File of the detector in the folder of the models.
const DETECTOR_FILE: &str = "face_detection_short_range.onnx";
/// File of the landmark model.
const MESH_FILE: &str = "face_landmark_with_attention.onnx";

/// The two models of the graph, and the memory they work in. One per thread that measures faces.
pub struct FaceModels {
    detector: Model,
    mesh: Model,
    input: Vec<f32>,
}

impl FaceModels {
    /// Loads `libonnxruntime.so`, `face_detection_short_range.onnx` and `face_landmark_with_attention.onnx`
    /// from `folder`, and runs both models once on a known input.
    pub fn load(folder: &Path) -> Result<FaceModels, ModelError> {
        FaceModels::load_with(Runtime::load(&folder.join(RUNTIME_FILE))?, folder)
    }

    /// The same with a runtime that lies elsewhere.
    pub fn load_with(runtime: &Runtime, folder: &Path) -> Result<FaceModels, ModelError> {
        let load = |name, file, signature| Model::load(runtime, name, folder, file, signature);
        let mut models = FaceModels {
            detector: load("face_detection_short_range", DETECTOR_FILE, &detect::SIGNATURE)?,
            mesh: load("face_landmark_with_attention", MESH_FILE, &mesh::SIGNATURE)?,
            input: Vec::new(),
        };
        let mismatch = |file, reason| ModelError::Mismatch { path: folder.join(file), reason };
        detect::self_test(&mut models.detector)?.map_err(|reason| mismatch(DETECTOR_FILE, reason))?;
        mesh::self_test(&mut models.mesh)?.map_err(|reason| mismatch(MESH_FILE, reason))?;
        Ok(models)
    }

    /// What identifies the models: detector, landmarks.
    pub fn info(&self) -> [&ModelInfo; 2] {
        [self.detector.info(), self.mesh.info()]
    }

    /// One short name for both models and the runtime, to stand beside every result: 16 hex digits.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for ModelInfo { name, sha256, runtime_version } in self.info() {
            hash.update(format!("{name}\n{sha256}\n{runtime_version}\n"));
        }
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Follows one face through the frames of one stream.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FaceTracker {
    tracked: Option<Tracked>,
    /// Frames searched in vain: whose turn it is among the parts of a picture. Checkpoints of before have none.
    #[serde(default)]
    searched: u32,
}

/// Where the face is expected, and in frames of which size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tracked {
    region: Region,
    width: u32,
    height: u32,
}

impl FaceTracker {
    /// Measures the next frame; `None` when it shows no face.
    pub fn track(
        &mut self,
        image: &RgbImage,
        models: &mut FaceModels,
    ) -> Result<Option<Landmarks>, ModelError> {
        let (width, height) = (image.width(), image.height());
        let tracked =
            self.tracked.take().filter(|tracked| (tracked.width, tracked.height) == (width, height));
        let region = match tracked {
            Some(tracked) => Some(tracked.region),
            None => self.search(image, models)?,
        };
        let Some(region) = region else { return Ok(None) };
        let Some(landmarks) = mesh::measure(&mut models.mesh, image, &region, &mut models.input)? else {
            return Ok(None);
        };
        self.tracked = landmarks.region(image).map(|region| Tracked { region, width, height });
        Ok(Some(landmarks))
    }

    /// Looks at the whole picture, then at the part of it whose turn it is.
    fn search(&mut self, image: &RgbImage, models: &mut FaceModels) -> Result<Option<Region>, ModelError> {
        let FaceModels { detector, input, .. } = models;
        if let Some(region) = detect::detect(detector, image, input)? {
            self.searched = 0;
            return Ok(Some(region));
        }
        let turn = self.searched;
        self.searched = turn.wrapping_add(1);
        detect::detect_small(detector, image, turn, input)
    }

    /// Forgets where the face was: the next frame is searched as a whole.
    pub fn reset(&mut self) {
        *self = FaceTracker::default();
    }
}
