#!/usr/bin/env python3
"""Makes the utterances of the demo model with espeak-ng: 16 kHz, whole numbers, no noise.

    generate.py      writes test.npz (log-mel frames of the utterances of test.tsv, with noise)

`train.py` makes its own by `utterance`. Every utterance depends on its number only. Needs espeak-ng (1.51 was used) and numpy.
"""

import csv
import multiprocessing
import pathlib
import random
import subprocess

import numpy as np

from frontend import RATE, log_mel
from sentences import sentence

ACCENTS = ["en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029"]
# The synthesiser's first voices, and what its users added, without copies of the test voices (robosoft, whisperf).
FIRST = ["", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+f1", "+f2", "+f3"]
ADDED = """Alex Alicia Andrea Andy Annie Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Michael Mike Storm adam anika
announcer antonio aunty belinda benjamin boris caleb david ed edward edward2 grandma grandpa gustave iven iven2 iven3 iven4 john
kaukovalta klatt klatt2 klatt3 linda marcelo max michel miguel norbert pablo paul pedro quincy rob robert sandro shelby steph
steph2 steph3 travis victor zac""".split()
VALIDATION_VARIANTS = ["+m7", "+f4"]  # in the test: m8, f5
TEST_LIST = pathlib.Path(__file__).with_name("test.tsv")
VOICE_RATE = 22_050


def speak(voice, speed, pitch, level, text):
    """The sound at 16 kHz, by cutting the spectrum."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-a", str(level), "--stdout", text]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    x = np.frombuffer(raw[44:], "<i2").astype(np.float32) / 32_768
    x = np.pad(x, (0, -len(x) % 1_764))  # a length of small factors, from which n follows without rounding
    n = len(x) * RATE // VOICE_RATE
    return np.fft.irfft(np.fft.rfft(x)[: n // 2 + 1], n) * n / len(x)


def utterance(number, is_validation):
    """Text and sound of one utterance to train on, or to choose by."""
    draw = random.Random(f"utterance {number}")
    text = sentence(draw, greeting_share=0.35)
    variant = draw.choice(FIRST) if draw.random() < 0.5 else "+" + draw.choice(ADDED)
    if is_validation:
        variant = draw.choice(VALIDATION_VARIANTS)
    sound = speak(draw.choice(ACCENTS) + variant, draw.randint(120, 200), draw.randint(20, 85), draw.randint(60, 160), text)
    return text, np.pad(sound, (draw.randint(100, 4_000), draw.randint(100, 4_000)))


def test_list():
    with TEST_LIST.open(newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def with_noise(number, sound):
    """Silence around it, and white or low noise 10 to 40 dB under it."""
    rng = np.random.default_rng(number)
    ratio_db = rng.uniform(10, 40)
    noise = rng.standard_normal(len(sound) + 3_200).astype(np.float32)
    if rng.random() < 0.5:
        noise = np.cumsum(noise)
        noise -= np.convolve(noise, np.ones(400) / 400, "same")
    noise /= noise.std()
    padded = np.pad(sound, (int(rng.integers(200, 1_600)), int(rng.integers(200, 1_600))))
    return padded + noise[: len(padded)] * (padded.std() * 10 ** (-ratio_db / 20))


def test_frames(row):
    sound = speak(row["voice"], row["speed"], row["pitch"], row["level"], row["text"])
    return log_mel(with_noise(int(row["number"]), sound)).astype(np.float16)


def main():
    rows = test_list()
    with multiprocessing.Pool() as pool:
        mels = pool.map(test_frames, rows, chunksize=20)
    np.savez("test.npz", mel=np.concatenate(mels), length=[len(mel) for mel in mels])


if __name__ == "__main__":
    main()
