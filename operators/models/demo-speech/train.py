#!/usr/bin/env python3
"""Trains the demo model on train.npz and writes weights.npz.

    train.py STEPS [MINUTES]     4500 steps of 32 utterances take about 15 minutes on two cores

A convolution of 9 frames and stride 3, then eight of 5 with layer norms before and shortcuts around them, 192 channels wide;
1.6 million weights; connectionist temporal classification over 28 letters. Needs jax 0.10.2 and optax 0.2.8 (CPU).
"""

import random
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from frontend import LETTERS, edits, scaled, spelled

CHANNELS, KERNEL = 192, 5
DILATIONS = [1, 1, 2, 1, 2, 1, 2, 1]
CLASSES = len(LETTERS) + 1
MOST_LETTERS = 56
LENGTHS = [150, 210, 270, 432]  # frames that batches are filled up to; what is longer is cut
BATCH = 32
INDEX = {letter: i + 1 for i, letter in enumerate(LETTERS)}


def load(name):
    data = np.load(name)
    ends = np.cumsum(data["length"])
    return [(data["mel"][e - n : e], str(text)) for n, e, text in zip(data["length"], ends, data["text"])]


def augmented(mel, rng):
    """Two bands and two stretches of time blanked out, and another level."""
    for _ in range(2):
        band, at = rng.integers(0, 70), rng.integers(0, max(1, len(mel) - 20))
        mel[:, band : band + rng.integers(0, 12)] = mel.mean()
        mel[at : at + rng.integers(0, 12)] = mel.mean()
    return mel + rng.uniform(-0.15, 0.15)


def batch(items, frames, rng=None):
    x = np.zeros((len(items), frames, 80), np.float32)
    x_padding = np.ones((len(items), frames // 3), np.float32)
    y = np.zeros((len(items), MOST_LETTERS), np.int32)
    y_padding = np.ones((len(items), MOST_LETTERS), np.float32)
    for i, (mel, text) in enumerate(items):
        mel = scaled(mel)[:frames]
        if rng is not None:
            mel = augmented(mel, rng)
        letters = [INDEX[c] for c in text if c in INDEX][:MOST_LETTERS]
        x[i, : len(mel)], x_padding[i, : (len(mel) + 2) // 3] = mel, 0
        y[i, : len(letters)], y_padding[i, : len(letters)] = letters, 0
    return x, x_padding, y, y_padding


def initial(key):
    keys = iter(jax.random.split(key, 40))

    def normal(*shape):
        return jax.random.normal(next(keys), shape) * np.sqrt(2 / np.prod(shape[:-1]))

    weights = {"in": normal(9, 80, CHANNELS), "in_bias": jnp.zeros(CHANNELS)}
    for layer in range(len(DILATIONS)):
        weights |= {f"conv{layer}": normal(KERNEL, CHANNELS, CHANNELS), f"bias{layer}": jnp.zeros(CHANNELS)}
        weights |= {f"scale{layer}": jnp.ones(CHANNELS), f"shift{layer}": jnp.zeros(CHANNELS)}
    weights |= {"scale_out": jnp.ones(CHANNELS), "shift_out": jnp.zeros(CHANNELS)}
    return weights | {"out": normal(CHANNELS, CLASSES) * 0.3, "out_bias": jnp.zeros(CLASSES)}


def convolve(x, kernel, stride=1, dilation=1):
    layout = ("NWC", "WIO", "NWC")
    return jax.lax.conv_general_dilated(x, kernel, (stride,), "SAME", rhs_dilation=(dilation,), dimension_numbers=layout)


def layer_norm(x, scale, shift):
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift


def logits(w, x, key=None):
    x = jax.nn.relu(convolve(x, w["in"], stride=3) + w["in_bias"])
    for layer, dilation in enumerate(DILATIONS):
        normed = layer_norm(x, w[f"scale{layer}"], w[f"shift{layer}"])
        h = jax.nn.relu(convolve(normed, w[f"conv{layer}"], dilation=dilation) + w[f"bias{layer}"])
        if key is not None:
            key, drop = jax.random.split(key)
            h = h * jax.random.bernoulli(drop, 0.9, h.shape) / 0.9
        x = x + h
    return layer_norm(x, w["scale_out"], w["shift_out"]) @ w["out"] + w["out_bias"]


def loss(w, data, key):
    x, x_padding, y, y_padding = data
    per_letter = optax.ctc_loss(logits(w, x, key), x_padding, y, y_padding) / jnp.maximum((1 - y_padding).sum(1), 1)
    return per_letter.mean()


def word_error(w, items, best):
    wrong = total = 0
    for at in range(0, len(items), 50):
        some = items[at : at + 50]
        classes = np.asarray(best(w, batch(some, LENGTHS[-1])[0]))
        for row, (mel, text) in zip(classes, some):
            heard = spelled(row[: (min(len(mel), LENGTHS[-1]) + 2) // 3])
            wrong += edits(text.split(), heard.split())
            total += len(text.split())
    return wrong / total


def epoch(items, number):
    """The batches of one pass, each of utterances of about one length."""
    order = random.Random(number)
    groups = {frames: [] for frames in LENGTHS}
    for item in items:
        groups[next(f for f in LENGTHS if len(item[0]) <= f or f == LENGTHS[-1])].append(item)
    batches = []
    for frames, group in groups.items():
        order.shuffle(group)
        batches += [(frames, group[i : i + BATCH]) for i in range(0, len(group) - BATCH + 1, BATCH)]
    order.shuffle(batches)
    return batches


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    steps, minutes = int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else float("inf")
    train, test = load("train.npz"), load("test.npz")
    schedule = optax.warmup_cosine_decay_schedule(0, 2e-3, min(200, steps // 2), steps, 2e-5)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-3))

    @jax.jit
    def step(w, state, data, key):
        value, gradient = jax.value_and_grad(loss)(w, data, key)
        update, state = optimiser.update(gradient, state, w)
        return optax.apply_updates(w, update), state, value

    best = jax.jit(lambda w, x: logits(w, x).argmax(-1))
    w, key, rng = initial(jax.random.PRNGKey(0)), jax.random.PRNGKey(1), np.random.default_rng(0)
    state, began, done = optimiser.init(w), time.time(), 0
    while done < steps and time.time() - began < minutes * 60:
        for frames, items in epoch(train, done):
            key, use = jax.random.split(key)
            w, state, value = step(w, state, batch(items, frames, rng), use)
            done += 1
            if done % 200 == 0:
                print(f"{done} loss {value:.3f} after {time.time() - began:.0f} s", flush=True)
            if done >= steps or time.time() - began >= minutes * 60:
                break
    print(f"word error on test.npz {word_error(w, test, best):.3f}")
    np.savez("weights.npz", **w)


if __name__ == "__main__":
    main()
