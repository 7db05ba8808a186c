#!/usr/bin/env python3
"""Makes the sounds of the speech tests and what independent programs say of them.

    make.py MODELS            writes reference.json.zst for the committed sounds
    make.py MODELS --sounds   makes the sounds anew before (their bytes depend on espeak-ng's version)

MODELS is the folder that docker/setup/models.sh fills. What the figures come from:

* mel frames: transformers 4.36.2, WhisperFeatureExtractor, 80 and 128 bands, filled up to 30 s; and, for the
  demo model, the numpy front end it was trained with (below), at the sound's own length
* voice activity and its ranges: the package silero-vad 6.2.3 (OnnxWrapper, get_speech_timestamps)
* text: the demo model in Python's onnxruntime 1.23.2, greedy

Needs: Debian's python3-torch (1.13.1) and espeak-ng 1.51; pip install numpy==1.26.4 onnxruntime==1.23.2 transformers==4.36.2
silero-vad==6.2.3 (--no-deps); and the program zstd. Nobody was recorded: the voices are synthetic.
"""

import json
import pathlib
import subprocess
import sys
import warnings

import numpy as np

HERE = pathlib.Path(__file__).parent
RATE = 16_000
LETTERS = " abcdefghijklmnopqrstuvwxyz'"
PAUSE = 16  # output frames without a letter that part words
EVERY = 37  # of the mel frames, besides the first and the last


def say(text, voice, speed=150, pitch=50):
    """espeak-ng's 22.05 kHz as floats at 16 kHz, by cutting the spectrum."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    x = np.frombuffer(raw[44:], "<i2").astype(np.float64) / 32_768
    n = int(len(x) * RATE / 22_050)
    return np.fft.irfft(np.fft.rfft(x)[: n // 2 + 1], n) * n / len(x)


def silence(seconds):
    return np.zeros(int(RATE * seconds))


def sounds():
    rng = np.random.default_rng(4)
    welcome = say("hello everyone welcome to the stream", "en-us")
    noise = rng.standard_normal(RATE * 8)
    greeting = np.concatenate([silence(1), welcome, silence(1)])
    yield "greeting", greeting + noise[: len(greeting)] * welcome.std() * 0.1
    first, second = say("good morning how are you today", "en-gb+f2", pitch=55), say("nice to meet you", "en-us+m3", 165, 40)
    yield "two_voices", np.concatenate([silence(0.5), first, silence(2.6), second, silence(0.3)])
    hum = np.sin(2 * np.pi * 50 * np.arange(RATE * 3) / RATE)
    clicks = (np.arange(RATE * 3) % 5_000 < 12) * 0.4
    yield "no_speech", 0.05 * hum + clicks + 0.01 * noise[: RATE * 3]
    loud = np.concatenate([say("thank you so much for joining us", "en-gb"), silence(0.2)])
    yield "clipped", loud * 30
    noisy = np.concatenate([silence(0.4), say("welcome back my friends", "en-us"), silence(0.4)])
    yield "noisy", noisy + noise[: len(noisy)] * noisy.std() * 0.56


def zstd(data, *options):
    return subprocess.run(["zstd", "-q", "-c", *options], input=data, check=True, capture_output=True).stdout


def make_sounds():
    for name, sound in sounds():
        samples = np.clip(np.round(sound * 32_768), -32_768, 32_767).astype("<i2")
        (HERE / f"{name}.s16.zst").write_bytes(zstd(samples.tobytes(), "-19"))


def rows(frames):
    """Some of the frames, by their index."""
    chosen = sorted({0, 1, len(frames) - 1, *range(0, len(frames), EVERY)})
    return {str(i): [round(float(v), 7) for v in frames[i]] for i in chosen}


def short_mel(x, filters):
    """The demo model's front end: as Whisper's, at the sound's own length."""
    padded = np.pad(x, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(x) // 160]
    power = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1], axis=1)) ** 2
    log = np.log10(np.maximum(power @ filters, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


def read_text(model, mel):
    mel = mel.astype(np.float32)
    mel = np.pad(mel, ((0, -len(mel) % 3), (0, 0)))
    best = model.run(None, {"mel": mel[None]})[0][0].argmax(-1)
    text, last = "", 0
    for at, (c, before) in enumerate(zip(best, [0, *best])):
        if c != 0 and at - last > PAUSE:
            text += " "
        if c != before and c != 0:
            text += LETTERS[c - 1]
        last = at if c != 0 else last
    return " ".join(text.split())


def reference(models):
    import onnxruntime
    import torch
    from silero_vad.utils_vad import OnnxWrapper, get_speech_timestamps
    from transformers import WhisperFeatureExtractor

    warnings.simplefilter("ignore")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    speech = onnxruntime.InferenceSession(models / "demo_speech.onnx", options)
    # The wrapper tells the 16 kHz model by its file's name; either rate is 16 kHz here.
    vad = OnnxWrapper(str(models / "silero_vad.onnx"))
    extractors = {bands: WhisperFeatureExtractor(feature_size=bands) for bands in (80, 128)}
    filter_like = dict(min_speech_duration_ms=0, min_silence_duration_ms=2_000, speech_pad_ms=400)
    cases = {}
    for path in sorted(HERE.glob("*.s16.zst")):
        raw = subprocess.run(["zstd", "-q", "-d", "-c", path], check=True, capture_output=True).stdout
        x = np.frombuffer(raw, "<i2").astype(np.float32) / 32_768
        sound = torch.from_numpy(x)
        mel = short_mel(x.astype(np.float64), extractors[80].mel_filters)

        def ranges(**settings):
            return [[r["start"], r["end"]] for r in get_speech_timestamps(sound, vad, **settings)]

        case = {
            "samples": len(x),
            "mel_own_length": rows(mel),
            "text": read_text(speech, mel),
            "activity": [float(p) for p in vad.audio_forward(sound, RATE)[0]],
            "ranges_of_the_package": ranges(),
            "ranges_of_the_filter": ranges(**filter_like),
        }
        for bands, extractor in extractors.items():
            whole = extractor(x, sampling_rate=RATE, return_tensors="np")["input_features"][0]
            case[f"mel_{bands}"] = rows(whole.T)
        cases[path.name.removesuffix(".s16.zst")] = case
        print(path.name, len(x), repr(case["text"]), case["ranges_of_the_filter"], case["ranges_of_the_package"])
    return cases


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    if "--sounds" in sys.argv[2:]:
        make_sounds()
    text = json.dumps(reference(pathlib.Path(sys.argv[1])))
    (HERE / "reference.json.zst").write_bytes(zstd(text.encode(), "-19"))


if __name__ == "__main__":
    main()
