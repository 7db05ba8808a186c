#!/usr/bin/env python3
"""What Python's front end and decoder take for the work of `operators/benches/speech.rs`, in processor time of one thread.

    speech.py WHISPER     the unpacked source of openai-whisper 20250625, from which the tiny model's vocabulary is made

Prints how many seconds of sound WhisperFeatureExtractor (transformers 4.36.2, numpy) does in one second, and the steps of the tiny model's
decoder per second in PyTorch. What it needs: operators/tests/data/whisper/make.py says it.
"""

import pathlib
import sys
import time

import numpy as np
import torch

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "operators/tests/data/whisper"))
import make  # noqa: E402

SECONDS, STEPS, RUNS = 30, 36, 5


def best(work):
    """The least processor time of a few runs, seconds."""
    times = []
    for _ in range(RUNS):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return min(times)


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    torch.set_num_threads(1)
    parts = make.sounds()
    voices = np.concatenate([parts[name] for name in ("greeting", "noisy", "two_voices")])
    sound = np.resize(voices, SECONDS * make.RATE).astype(np.float32) / 32_768
    extractor = make.WhisperFeatureExtractor(feature_size=80)

    def mel():
        return extractor(sound, sampling_rate=make.RATE, return_tensors="pt")["input_features"]

    print(f"{SECONDS / best(mel):9.0f} ×     real time: mel, 80 bands")
    tokens = make.tokenizer(pathlib.Path(sys.argv[1]))
    model = make.model(tokens, 80, 3, 297)
    features = mel()

    def decode(steps):
        with torch.no_grad():
            encoded = model.model.encoder(features).last_hidden_state
            ids, past = torch.tensor([[897, 898, 904, 908]]), None
            for _ in range(steps + 1):
                out = model(encoder_outputs=(encoded,), decoder_input_ids=ids, past_key_values=past, use_cache=True)
                ids, past = torch.tensor([[17]]), out.past_key_values

    per_step = (best(lambda: decode(STEPS)) - best(lambda: decode(0))) / STEPS
    print(f"{1 / per_step:9.0f} /s    steps of the tiny Whisper's decoder")


if __name__ == "__main__":
    main()
