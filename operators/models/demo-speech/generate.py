#!/usr/bin/env python3
"""Makes the training and test utterances of the demo model with espeak-ng.

    generate.py COUNT     writes train.npz (COUNT utterances) and test.npz (400, in voices that training never hears)

12,000 utterances are 6.7 hours of sound and take 5 to 6 minutes on two cores. Every utterance depends on its number only.
Needs espeak-ng (1.51 was used) and numpy.
"""

import multiprocessing
import random
import subprocess
import sys

import numpy as np

from frontend import RATE, log_mel
from sentences import sentence

ACCENTS = ["en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029"]
VARIANTS = ["", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4"]
TEST_VARIANTS = ["+m8", "+f5"]
TEST_COUNT, TEST_FROM = 400, 10**6
VOICE_RATE = 22_050


def speak(draw, text, is_test):
    """The voice's name and its sound at 16 kHz."""
    voice = draw.choice(ACCENTS) + draw.choice(TEST_VARIANTS if is_test else VARIANTS)
    speed, pitch, level = draw.randint(130, 190), draw.randint(25, 80), draw.randint(60, 160)
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-a", str(level), "--stdout", text]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    x = np.frombuffer(raw[44:], "<i2").astype(np.float32) / 32_768
    n = int(len(x) * RATE / VOICE_RATE)
    return voice, np.fft.irfft(np.fft.rfft(x)[: n // 2 + 1], n) * n / len(x)


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


def utterance(job):
    number, is_test = job
    draw = random.Random(number)
    text = sentence(draw)
    voice, sound = speak(draw, text, is_test)
    return text, voice, log_mel(with_noise(number, sound)).astype(np.float16)


def save(name, made):
    texts, voices, mels = zip(*made)
    np.savez(name, mel=np.concatenate(mels), length=[len(mel) for mel in mels], text=texts, voice=voices)


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with multiprocessing.Pool() as pool:
        train = pool.map(utterance, [(i, False) for i in range(int(sys.argv[1]))], chunksize=50)
        test = pool.map(utterance, [(TEST_FROM + i, True) for i in range(TEST_COUNT)], chunksize=50)
    save("train.npz", train)
    save("test.npz", test)
    heard = {text for text, _, _ in train}
    hours = sum(len(mel) for _, _, mel in train) / 100 / 3600
    print(f"{hours:.1f} hours, {len(heard)} sentences; in no training text: {sum(t not in heard for t, _, _ in test)} of {len(test)}")


if __name__ == "__main__":
    main()
