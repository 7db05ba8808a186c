//! H.264 access units → RGB frames (DESIGN §4): one libavcodec decoder per stream, on one thread.
//!
//! A frame is given only when every bit it depends on was there and decoded without complaint. After an
//! error, or a gap that the caller reports, the decoder waits for the next key frame; until then units are
//! refused with a reason. Every key frame begins with a decoder as new: what it and its followers decode to,
//! and which unit brings out which frame, depends on nothing before it. So a decoder can be built again from
//! the units since its last key frame.

mod annex_b;
mod bits;
mod orientation;
mod parameters;
mod rgb;

use ffmpeg_next as ffmpeg;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::annex_b::{Inspector, UnitKind};
use self::orientation::Orientation;

/// Largest picture by default, in coded pixels (multiples of 16 each way): 1920 × 1080, either way up.
pub const DEFAULT_MAX_PIXELS: u32 = 1920 * 1088;
/// Picture buffers that are kept for reuse.
const MAX_SPARE_BUFFERS: usize = 4;

/// One picture, in display order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Capture time of the access unit it came in, µs, on the clock of the device.
    pub capture_us: i64,
    /// Pixels per row.
    pub width: u32,
    /// Rows; as it is to be shown, which is not how it was coded where the stream says that it is turned.
    pub height: u32,
    /// `width · height` times red, green, blue; rows from the top, no padding.
    pub rgb: Vec<u8>,
}

/// Why an access unit gave no frame of its own. The variants are reasons for filing the record, except the
/// last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// Does not begin with a start code.
    #[error("the access unit is not an Annex B byte stream")]
    NotAnnexB,
    /// Parameter sets or supplemental data alone; they belong into the unit of the key frame.
    #[error("the access unit holds no picture")]
    NoPicture,
    /// The decoder waits for a key frame (flagged, an IDR picture, parameter sets with it) and this is none.
    #[error("no key frame yet")]
    NoKeyFrame,
    /// The picture is larger than the limit.
    #[error("the picture is larger than the limit")]
    TooLarge,
    /// Anything but 8-bit 4:2:0.
    #[error("the pixel format is not 8-bit 4:2:0")]
    UnsupportedFormat,
    /// Damaged or truncated.
    #[error("the access unit is corrupt")]
    Corrupt,
    /// A picture that this one may refer to never came.
    #[error("a reference picture is missing before this one")]
    MissingReference,
    /// The linked libavcodec has no H.264 decoder; not a fault of the input.
    #[error("libavcodec has no H.264 decoder: install a complete build of it")]
    Unavailable,
}

impl DecodeError {
    /// The reason code under which a record is filed.
    pub fn reason(self) -> &'static str {
        match self {
            DecodeError::NotAnnexB => "not_annex_b",
            DecodeError::NoPicture => "no_picture",
            DecodeError::NoKeyFrame => "no_key_frame",
            DecodeError::TooLarge => "too_large",
            DecodeError::UnsupportedFormat => "unsupported_format",
            DecodeError::Corrupt => "corrupt",
            DecodeError::MissingReference => "missing_reference",
            DecodeError::Unavailable => "decoder_unavailable",
        }
    }
}

/// What of a decoder is no picture: a checkpoint may hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecoderState {
    inspector: Inspector,
    /// Checkpoints of before have none.
    #[serde(default)]
    orientation: Orientation,
}

/// Decodes one H.264 stream.
pub struct H264Decoder {
    decoder: ffmpeg::decoder::Video,
    max_pixels: u32,
    inspector: Inspector,
    /// Since the last key frame.
    orientation: Orientation,
    waiting: bool,
    /// Capture times of the last key frame and of the last unit behind it, if one was taken.
    fed: Option<(i64, i64)>,
    skipped: u64,
    /// Good frames that came out while handling an error; given with the next success.
    held: Vec<Frame>,
    spare: Vec<Vec<u8>>,
}

impl H264Decoder {
    /// A decoder that refuses pictures of more than `max_pixels` coded pixels (see [`DEFAULT_MAX_PIXELS`]).
    pub fn new(max_pixels: u32) -> Result<Self, DecodeError> {
        Ok(H264Decoder {
            decoder: open(max_pixels)?,
            max_pixels,
            inspector: Inspector::default(),
            orientation: Orientation::default(),
            waiting: true,
            fed: None,
            skipped: 0,
            held: Vec::new(),
            spare: Vec::new(),
        })
    }

    /// What of the decoder is no picture.
    pub fn state(&self) -> DecoderState {
        DecoderState { inspector: self.inspector.clone(), orientation: self.orientation }
    }

    /// A decoder as it was when `state` was taken, once [`H264Decoder::feed_again`] has had the units that it
    /// had taken of those that [`H264Decoder::fed`] spanned.
    pub fn resumed(max_pixels: u32, state: DecoderState) -> Result<Self, DecodeError> {
        let DecoderState { inspector, orientation } = state;
        Ok(H264Decoder { inspector, orientation, ..H264Decoder::new(max_pixels)? })
    }

    /// Capture times of the first unit that the decoder depends on, a key frame, and of the last it took.
    pub fn fed(&self) -> Option<(i64, i64)> {
        self.fed
    }

    /// Takes a unit again that it had taken before; the frames it brings out had come out then.
    pub fn feed_again(&mut self, access_unit: &[u8], capture_us: i64) -> Result<(), DecodeError> {
        self.waiting = false;
        self.send(access_unit, capture_us)?;
        for frame in std::mem::take(&mut self.held) {
            self.recycle(frame);
        }
        Ok(())
    }

    /// Decodes one access unit (Annex B). Returns the frames that became ready, in display order: with
    /// B-frames they belong to earlier units. `key_frame` is the sender's promise that decoding may begin
    /// here.
    ///
    /// After an error (other than [`DecodeError::NoPicture`]) the decoder waits for the next key frame;
    /// frames that were ready before it come with the next success or with [`H264Decoder::finish`].
    pub fn decode(
        &mut self,
        access_unit: &[u8],
        capture_us: i64,
        key_frame: bool,
    ) -> Result<Vec<Frame>, DecodeError> {
        match self.try_decode(access_unit, capture_us, key_frame) {
            Ok(frames) => Ok(frames),
            Err(DecodeError::NoKeyFrame) => {
                self.skipped += 1;
                Err(DecodeError::NoKeyFrame)
            }
            // Nothing that later units depend on is in it.
            Err(DecodeError::NoPicture) => Err(DecodeError::NoPicture),
            Err(error) => {
                self.wait_for_key_frame();
                self.held.retain(|frame| frame.capture_us != capture_us);
                Err(error)
            }
        }
    }

    /// Gives the frames still held back for reordering, and waits for a key frame.
    pub fn finish(&mut self) -> Vec<Frame> {
        self.wait_for_key_frame();
        std::mem::take(&mut self.held)
    }

    /// Says that a unit is missing before the next one: what follows cannot be trusted until a key frame.
    pub fn gap(&mut self) {
        self.wait_for_key_frame();
    }

    /// Units refused so far because no key frame had come.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Takes a frame back so that its buffer is used again.
    pub fn recycle(&mut self, frame: Frame) {
        if self.spare.len() < MAX_SPARE_BUFFERS {
            self.spare.push(frame.rgb);
        }
    }

    fn try_decode(
        &mut self,
        unit: &[u8],
        capture_us: i64,
        key_frame: bool,
    ) -> Result<Vec<Frame>, DecodeError> {
        let kind = match self.inspector.inspect(unit, self.max_pixels) {
            Err(DecodeError::MissingReference) if self.waiting => Err(DecodeError::NoKeyFrame)?,
            inspected => inspected?,
        };
        match kind {
            UnitKind::Start(orientation) if key_frame => {
                self.wait_for_key_frame();
                // One that went on would remember how far the frames before were reordered.
                self.decoder = open(self.max_pixels)?;
                self.orientation = orientation;
                self.waiting = false;
            }
            _ if self.waiting => return Err(DecodeError::NoKeyFrame),
            _ => {}
        }
        self.send(unit, capture_us)?;
        Ok(std::mem::take(&mut self.held))
    }

    fn send(&mut self, unit: &[u8], capture_us: i64) -> Result<(), DecodeError> {
        let mut packet = ffmpeg::Packet::copy(unit);
        packet.set_pts(Some(capture_us));
        self.fed = Some((self.fed.map_or(capture_us, |(first, _)| first), capture_us));
        self.decoder.send_packet(&packet).map_err(|_| DecodeError::Corrupt)?;
        self.receive(capture_us)
    }

    /// Takes what the decoder has ready into `held`.
    fn receive(&mut self, capture_us: i64) -> Result<(), DecodeError> {
        let mut picture = ffmpeg::frame::Video::empty();
        loop {
            match self.decoder.receive_frame(&mut picture) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof) => return Ok(()),
                Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => return Ok(()),
                Err(_) => return Err(DecodeError::Corrupt),
            }
            if picture.is_corrupt() || picture.has_decode_errors() {
                return Err(DecodeError::Corrupt);
            }
            if picture.width().saturating_mul(picture.height()) > self.max_pixels {
                return Err(DecodeError::TooLarge);
            }
            let mut rgb = self.spare.pop().unwrap_or_default();
            rgb::convert(&picture, &mut rgb)?;
            let (width, height) = self.orientation.apply(picture.width(), picture.height(), &mut rgb);
            self.held.push(Frame { capture_us: picture.pts().unwrap_or(capture_us), width, height, rgb });
        }
    }

    /// Empties the decoder into `held` and starts afresh at the next key frame.
    fn wait_for_key_frame(&mut self) {
        if !self.waiting && self.decoder.send_eof().is_ok() {
            // What cannot be decoded any more was filed with its own unit, or depends on the one that was.
            let _ = self.receive(i64::MIN);
        }
        self.decoder.flush();
        self.waiting = true;
        self.fed = None;
    }
}

fn open(max_pixels: u32) -> Result<ffmpeg::decoder::Video, DecodeError> {
    // The library would print every damaged unit; the reason is in the result already.
    ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
    let codec = ffmpeg::decoder::find(ffmpeg::codec::Id::H264).ok_or(DecodeError::Unavailable)?;
    let mut decoder = ffmpeg::codec::Context::new_with_codec(codec).decoder();
    // Timing of threads must not decide what is concealed or when a frame comes out.
    decoder.set_threading(ffmpeg::threading::Config::count(1));
    // Concealment stays on: it is what notices a missing slice and marks the frame, and marked frames are
    // refused.
    decoder.check(ffmpeg::decoder::Check::EXPLODE);
    decoder.set_packet_time_base(ffmpeg::Rational(1, 1_000_000));
    // A second fence behind `Inspector::inspect`; twice, since the library rounds rows up to its own
    // alignment.
    let mut options = ffmpeg::Dictionary::new();
    options.set("max_pixels", &max_pixels.saturating_mul(2).min(i32::MAX as u32).to_string());
    decoder
        .open_as_with(codec, options)
        .and_then(|opened| opened.video())
        .map_err(|_| DecodeError::Unavailable)
}
