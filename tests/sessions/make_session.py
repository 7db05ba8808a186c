#!/usr/bin/env python3
"""Make the recorded sessions that the demo and the tests feed (see README.md here).

    make_session.py [NAME...]                make them: NAME/{video.mkv,audio.wav.zst,stimulus_script.json}, SHA256SUMS
    make_session.py --check [NAME...]        make them elsewhere and compare with the committed bytes
    make_session.py --measure [--write]      measure smiles on the committed videos and compare with peaks.json
                                             (or write it; then make the sessions again)

Run it through make_session.sh, which provides the pinned Python packages and checks the tools.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import zstandard

import portrait
import speech
from plans import FPS, PLANS, SEGMENT_S

HERE = Path(__file__).resolve().parent
PEAKS = HERE / "peaks.json"
SUMS = HERE / "SHA256SUMS"
FILES = ("video.mkv", "audio.wav.zst", "stimulus_script.json")
MEASURED_TOLERANCE = 0.02
WINDOW_S = (0.5, 5.0)  # after the stimulus: where the reward looks


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    unknown = set(args.names) - {p.name for p in PLANS}
    if unknown:
        parser.error(f"no such session: {', '.join(sorted(unknown))}")
    plans = [p for p in PLANS if not args.names or p.name in args.names]
    if args.measure:
        return measure(plans, args.write)
    if args.check:
        return check(plans)
    for plan in plans:
        make(plan, HERE / plan.name)
    write_sums()
    return 0


# --- making ---


def make(plan, folder):
    folder.mkdir(parents=True, exist_ok=True)
    write_video(plan, folder / "video.mkv")
    wav = speech.wav_bytes(speech.track(plan.utterances(), plan.duration_s))
    (folder / "audio.wav.zst").write_bytes(zstandard.ZstdCompressor(level=19, write_checksum=True).compress(wav))
    (folder / "stimulus_script.json").write_text(json.dumps(script(plan), indent=2) + "\n")
    print(plan.name, *(f"{f} {(folder / f).stat().st_size:,}" for f in FILES), file=sys.stderr)


def picture_path():
    return metadata.distribution("scikit-image").locate_file("skimage/data/astronaut.png")


def write_video(plan, path):
    """H.264 as a phone sends it: no B-frames, a key frame every second; one thread, so the bytes are fixed."""
    face = portrait.Portrait(portrait.load_picture(picture_path()), plan.width, plan.height, plan.shown_width)
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
    command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{plan.width}x{plan.height}", "-r", str(FPS), "-i", "pipe:0"]
    command += ["-c:v", "libx264", "-threads", "1", "-preset", "slow", "-crf", str(plan.crf), "-profile:v", "high"]
    command += ["-x264-params", "asm=0"]  # no choice of code by processor
    command += ["-bf", "0", "-g", str(FPS), "-keyint_min", str(FPS), "-sc_threshold", "0"]
    command += ["-colorspace", "smpte170m", "-color_primaries", "smpte170m", "-color_trc", "smpte170m", "-color_range", "tv"]
    command += ["-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-f", "matroska", str(path)]
    encoder = subprocess.Popen(command, stdin=subprocess.PIPE)
    for i in range(plan.duration_s * FPS):
        t = i / FPS
        encoder.stdin.write(face.frame(plan.smile(t), plan.turn(t), plan.present(t)))
    encoder.stdin.close()
    if encoder.wait() != 0:
        raise SystemExit(f"ffmpeg failed on {path}")


def script(plan):
    peaks = json.loads(PEAKS.read_text()).get(plan.name) if PEAKS.exists() else None
    peaks = peaks or [0.0] * len(plan.stimuli)
    stimuli = []
    for index, stimulus in enumerate(plan.stimuli):
        segment = int(stimulus.at_s // SEGMENT_S)
        stimuli.append(
            {
                "segment_index": segment,
                "stimulus_offset_s": round(stimulus.at_s - segment * SEGMENT_S, 3),
                "expected_arm_id": plan.arm_id,
                "expected_greeting_text": plan.greeting_text,
                "expected_peak_au12": peaks[index],
                "expected_semantic_match": stimulus.matches,
                "spoken_text": stimulus.spoken_text,
                "client_action_id": plan.action_id(index),
            }
        )
    return {
        "fps": FPS,
        "duration_s": plan.duration_s,
        "segment_duration_s": SEGMENT_S,
        "video_width": plan.width,
        "video_height": plan.height,
        "audio_sample_rate_hz": speech.RATE,
        "audio_sample_width_bytes": 2,
        "audio_channels": 1,
        "recorded_at_utc": "2026-01-05T10:00:00Z",
        "device_clock": {"offset_s": -1.7, "drift_ppm": 50.0, "poll_interval_s": 30},
        "experiment_id": plan.experiment_id,
        "stimuli": stimuli,
    }


# --- checking ---


def write_sums():
    lines = []
    for plan in PLANS:
        for name in FILES:
            path = HERE / plan.name / name
            if path.exists():
                lines.append(f"{digest(path)}  {plan.name}/{name}\n")
    SUMS.write_text("".join(lines))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(plans):
    expected = dict(reversed(line.split()) for line in SUMS.read_text().splitlines())
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        for plan in plans:
            make(plan, Path(scratch) / plan.name)
            for name in FILES:
                key = f"{plan.name}/{name}"
                if digest(HERE / key) != expected[key]:
                    wrong.append(f"{key}: the committed file differs from SHA256SUMS")
                elif digest(Path(scratch) / key) != expected[key]:
                    wrong.append(f"{key}: made again, it has other bytes")
    print("\n".join(wrong) if wrong else "all sessions are made of the committed bytes", file=sys.stderr)
    return 1 if wrong else 0


def measure(plans, write):
    """The 90th percentile of the smile after each stimulus, as the reward takes it, on the decoded video."""
    stored = json.loads(PEAKS.read_text()) if PEAKS.exists() else {}
    far = False
    for plan in plans:
        ratios = measured_ratios(plan)
        peaks, without_face, neutral, spread = smile_peaks(plan, ratios)
        print(f"{plan.name}: neutral ratio {neutral:.4f} (spread {spread:.4f}), frames without a face {without_face}, peaks {peaks}")
        if write:
            stored[plan.name] = peaks
        elif any(abs(a - b) > MEASURED_TOLERANCE for a, b in zip(peaks, stored[plan.name], strict=True)):
            print(f"  differs from peaks.json: {stored[plan.name]}")
            far = True
    if write:
        PEAKS.write_text(json.dumps(stored, indent=2) + "\n")
    return 1 if far else 0


def measured_ratios(plan):
    """The mouth/eye ratio of every frame of the committed video, None without a face."""
    from face import FaceTracker, mouth_eye_ratio

    cache = Path(os.environ.get("LSIE_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lsie")
    tracker = FaceTracker(cache / "models" / "v1")
    command = ["ffmpeg", "-loglevel", "error", "-nostdin", "-threads", "1", "-i", str(HERE / plan.name / "video.mkv")]
    decoder = subprocess.Popen(command + ["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"], stdout=subprocess.PIPE)
    ratios = []
    while frame := decoder.stdout.read(plan.width * plan.height * 3 // 2):
        points = tracker.track(portrait.rgb_from_yuv420(frame, plan.width, plan.height))
        ratios.append(None if points is None else mouth_eye_ratio(points))
    if decoder.wait() != 0 or len(ratios) != plan.duration_s * FPS:
        raise SystemExit(f"{plan.name}: {len(ratios)} frames decoded")
    return ratios


def smile_peaks(plan, ratios):
    from face import bounded_intensity, percentile

    first = plan.stimuli[0].at_s
    calibration = [r for i, r in enumerate(ratios) if i / FPS < first and r is not None]
    neutral = sum(calibration) / len(calibration)
    without_face = [i for i, r in enumerate(ratios) if r is None]
    for i in without_face:
        if plan.present(i / FPS):
            raise SystemExit(f"{plan.name}: the detector finds no face at {i / FPS:.2f} s")
    peaks = []
    for stimulus in plan.stimuli:
        low, high = (stimulus.at_s + d for d in WINDOW_S)
        window = [r for i, r in enumerate(ratios) if low <= i / FPS <= high and r is not None]
        peaks.append(round(percentile([bounded_intensity(r, neutral) for r in window], 90), 4))
    spread = max(calibration) - min(calibration)
    return peaks, len(without_face), neutral, spread


if __name__ == "__main__":
    sys.exit(main())
