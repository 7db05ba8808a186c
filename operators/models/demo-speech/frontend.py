"""Whisper's 80-band log-mel front end in numpy, and the letters of the demo model."""

import numpy as np

RATE = 16_000
LETTERS = " abcdefghijklmnopqrstuvwxyz'"


def mel_filters(bands=80, throat=1.0):
    """Triangles of equal area on Slaney's mel scale, [201, bands]; a shorter `throat` has higher formants."""
    step = np.log(6.4) / 27
    mels = np.linspace(0, 15 + np.log(8) / step, bands + 2)
    corners = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp(step * (mels - 15)))
    hertz = np.arange(201)[:, None] * RATE / 400 * throat
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    triangle = np.minimum((hertz - low) / (peak - low), (high - hertz) / (high - peak))
    return np.maximum(triangle, 0) * 2 / (high - low)


FILTERS = mel_filters()
WINDOW = np.hanning(401)[:-1]


def log_mel(sound):
    """log10 of the power in each band, [frames, 80], a frame every 10 ms."""
    padded = np.pad(sound, 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][: len(sound) // 160]
    power = np.abs(np.fft.rfft(frames * WINDOW, axis=1)) ** 2
    return np.log10(np.maximum(power @ FILTERS, 1e-10))


def scaled(mel):
    """What the model takes: cut off 80 dB under the loudest band, and scaled."""
    mel = np.asarray(mel, np.float32)
    return (np.maximum(mel, mel.max() - 8) + 4) / 4


def spelled(classes):
    """Greedy reading: repeats are one letter, class 0 is none."""
    kept = [c for c, before in zip(classes, [0, *classes]) if c != before and c != 0]
    return " ".join("".join(LETTERS[c - 1] for c in kept).split())


def edits(a, b):
    """Least number of insertions, deletions and replacements that turn `a` into `b`."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
