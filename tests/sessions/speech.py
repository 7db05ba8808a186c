"""Speech of espeak-ng at 48 kHz: 16-bit mono samples, exactly zero where nobody speaks.

espeak-ng gives 22.05 kHz; the resampler is an integer polyphase filter, so equal inputs give equal bytes.
"""

import io
import math
import subprocess
import wave

import numpy as np

RATE = 48_000
VOICE_RATE = 22_050
UP, DOWN = 320, 147  # 48000 / 22050
TAPS = 48  # per phase
UNIT = 1 << 15
VOICE = ["-v", "en-gb+f2", "-s", "150", "-p", "55", "-a", "110"]


def speak(text):
    """The words as samples at 48 kHz."""
    made = subprocess.run(["espeak-ng", *VOICE, "--stdout", text], check=True, capture_output=True)
    # The header's length is wrong when espeak-ng writes to a pipe, so only its format is read.
    with wave.open(io.BytesIO(made.stdout)) as header:
        found = (header.getframerate(), header.getnchannels(), header.getsampwidth())
    if found != (VOICE_RATE, 1, 2):
        raise SystemExit(f"espeak-ng gave {found}, expected {(VOICE_RATE, 1, 2)}")
    raw = made.stdout[44:]
    return resample(np.frombuffer(raw[: len(raw) & ~1], "<i2").astype(np.int64))


def filter_bank():
    """Integer coefficients [phase][tap] of a Hann-windowed sinc, each phase with sum 32768."""
    half = TAPS // 2
    bank = np.zeros((UP, TAPS), np.int64)
    for phase in range(UP):
        row = []
        for tap in range(TAPS):
            d = tap - half + 1 - phase / UP
            sinc = 1.0 if d == 0 else math.sin(math.pi * d) / (math.pi * d)
            window = 0.5 + 0.5 * math.cos(math.pi * d / half) if abs(d) < half else 0.0
            row.append(sinc * window)
        total = sum(row)
        bank[phase] = [round(c / total * UNIT) for c in row]
        bank[phase][half - 1 if phase < UP // 2 else half] += UNIT - bank[phase].sum()
    return bank


BANK = filter_bank()


def resample(x):
    count = len(x) * UP // DOWN
    padded = np.concatenate([np.zeros(TAPS, np.int64), x, np.zeros(TAPS, np.int64)])
    position = np.arange(count) * DOWN
    whole, phase = position // UP, position % UP
    first = whole - TAPS // 2 + 1 + TAPS
    total = np.zeros(count, np.int64)
    for tap in range(TAPS):
        total += padded[first + tap] * BANK[phase, tap]
    return np.clip((total + UNIT // 2) >> 15, -32768, 32767).astype("<i2")


def track(utterances, duration_s):
    """One channel of `duration_s` with each (start_s, text) in its place."""
    samples = np.zeros(duration_s * RATE, "<i2")
    free_from = 0
    for start_s, text in utterances:
        words = speak(text)
        start = round(start_s * RATE)
        if start < free_from or start + len(words) > len(samples):
            raise SystemExit(f"no room for {text!r} at {start_s} s")
        samples[start : start + len(words)] = words
        free_from = start + len(words)
    return samples


def wav_bytes(samples):
    out = io.BytesIO()
    with wave.open(out, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(RATE)
        f.writeframes(samples.tobytes())
    return out.getvalue()
