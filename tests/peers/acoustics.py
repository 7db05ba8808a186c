"""Runs Praat and this project's acoustics on the same WAV files: time of each, and the largest differences.

    python3 -m venv venv && venv/bin/pip install praat-parselmouth==0.4.4
    zstd -d tests/golden/acoustic/wav/segment_30s.wav.zst -o segment_30s.wav
    venv/bin/python tests/peers/acoustics.py segment_30s.wav

Both times are processor time, the best of nine runs: Praat's of all its threads, ours of its only one.
"""

import json
import math
import subprocess
import sys
import time

import numpy
import parselmouth
from parselmouth.praat import call

BENCH = ["cargo", "bench", "--quiet", "--locked", "--workspace", "--bench", "acoustics", "--"]
SPAN = (0, 0)
PERIODS = (0.0001, 0.02, 1.3)


def praat(sound):
    """The calls of the original for a whole segment."""
    pitch = call(sound, "To Pitch", 0.0, 75, 600)
    pulses = call(sound, "To PointProcess (periodic, cc)", 75, 600)
    scalars = {
        "pitch_f0": call(pitch, "Get mean", *SPAN, "Hertz"),
        "jitter": call(pulses, "Get jitter (local)", *SPAN, *PERIODS),
        "shimmer": call([sound, pulses], "Get shimmer (local)", *SPAN, *PERIODS, 1.6),
    }
    return pitch, pulses, scalars


def best_ms(work, clock, runs=9):
    times = []
    for _ in range(runs):
        start = clock()
        work()
        times.append(1e3 * (clock() - start))
    return min(times)


def compare(path):
    ours = json.loads(subprocess.run([*BENCH, path], check=True, capture_output=True, text=True).stdout)
    sound = parselmouth.Sound(path)
    pitch, pulses, scalars = praat(sound)
    processor_ms = best_ms(lambda: praat(sound), time.process_time)
    wall_ms = best_ms(lambda: praat(sound), time.perf_counter)
    print(f"{path}: {sound.duration:.1f} s")
    print(f"  Praat {processor_ms:.1f} ms ({wall_ms:.1f} ms on the clock), ours {ours['ms']:.1f} ms:"
          f" {processor_ms / ours['ms']:.1f} times ({wall_ms / ours['ms']:.1f} on the clock)")

    selected = pitch.selected_array
    hz, strength = numpy.array(ours["selected"]).T
    assert len(hz) == pitch.n_frames, "frames"
    voiced = selected["frequency"] > 0
    assert ((hz > 0) == voiced).all(), "voicing"
    times = [call(pulses, "Get time from index", i + 1) for i in range(call(pulses, "Get number of points"))]
    assert len(times) == len(ours["pulses_s"]), "pulses"
    largest = {
        "pitch, relative": numpy.abs(hz[voiced] / selected["frequency"][voiced] - 1).max(initial=0),
        "strength": numpy.abs(strength - selected["strength"]).max(initial=0),
        "pulse, s": numpy.abs(numpy.array(times) - ours["pulses_s"]).max(initial=0),
    }
    print("  largest difference: " + ", ".join(f"{name} {value:.1e}" for name, value in largest.items()))
    for name, theirs in scalars.items():
        defined = not math.isnan(theirs)
        assert defined == (ours[name] is not None), name
        if defined:
            print(f"  {name}: {theirs:.12g} and {ours[name]:.12g}, difference {abs(theirs - ours[name]):.1e}")
    limits = {"pitch, relative": 1e-5, "strength": 1e-6, "pulse, s": 1e-8}
    assert all(largest[name] <= limit for name, limit in limits.items()), "beyond the tolerances"


if __name__ == "__main__":
    print("Praat", parselmouth.PRAAT_VERSION, "by parselmouth", parselmouth.__version__)
    for path in sys.argv[1:]:
        compare(path)
