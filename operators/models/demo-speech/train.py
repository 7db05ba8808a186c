#!/usr/bin/env python3
"""Trains the demo model and writes weights.npz, over and over until the time is up.

    train.py MINUTES [UTTERANCES [FOLDER]]     120,000 utterances by default; what is written goes to FOLDER

Half of the processors make utterances (espeak-ng) while the first ones are trained on already; noise, echo, equaliser and other
throats are put onto them anew in every step, on the accelerator. A convolution of 9 frames and stride 3, then ten of 5 with layer
norms before and shortcuts around them, 256 channels wide: 3.5 million weights; connectionist temporal classification over 28
letters. Needs jax 0.11, optax 0.2.8; one H100 was used.
"""

import mmap
import multiprocessing
import os
import pathlib
import queue
import random
import sys
import threading
import time

import numpy as np

from frontend import LETTERS, RATE, WINDOW, edits, mel_filters, spelled
from generate import test_list, utterance

CHANNELS, KERNEL, CLASSES = 256, 5, len(LETTERS) + 1
DILATIONS = [1, 2] * 5
LONGEST = 76_800  # samples of an utterance; what is longer is left out
SHAPES = [(512, 38_400, 40), (256, LONGEST, 80)]  # utterances, samples and letters of a batch
VALIDATION = 768
INDEX = {letter: i + 1 for i, letter in enumerate(LETTERS)}
PEAK_RATE, AVERAGE = 2e-3, 0.998
QUIET = 0.06  # share of a batch that is hum, clicks and noise in place of speech


class Store:
    """Utterances in memory that the processes share; a length of 0 is not made yet, of -1 left out."""

    def __init__(self, count):
        self.sound = np.frombuffer(mmap.mmap(-1, count * LONGEST * 2), np.int16).reshape(count, LONGEST)
        self.letters = np.frombuffer(mmap.mmap(-1, count * SHAPES[-1][2]), np.uint8).reshape(count, -1)
        self.length = np.frombuffer(mmap.mmap(-1, count * 4), np.int32)

    def fill(self, numbers, held_back):
        """Makes the utterances `numbers`; texts that the test wants new are left out."""
        for number in numbers:
            text, sound = utterance(number, number < VALIDATION)
            letters = [INDEX[c] for c in text]
            if len(sound) > LONGEST or len(letters) > SHAPES[-1][2] or text in held_back:
                self.length[number] = -1
                continue
            self.letters[number, : len(letters)] = letters
            self.sound[number, : len(sound)] = np.clip(sound * 32_768, -32_768, 32_767)
            self.length[number] = len(sound)

    def made(self):
        return int((self.length != 0).sum())

    def fitting(self, low, high, validation=False):
        """Numbers of the utterances that are made and whose lengths lie between."""
        length = self.length[:VALIDATION] if validation else self.length[VALIDATION:]
        return np.flatnonzero((length > low) & (length <= high)) + (0 if validation else VALIDATION)

    def batch(self, numbers, shape):
        _, samples, letters = shape
        return self.sound[numbers, :samples], self.length[numbers], self.letters[numbers, :letters]


def start_making(count):
    """The store, which processes of low priority fill."""
    store, held_back = Store(count), {row["text"] for row in test_list() if row["kind"] == "new"}
    makers = os.cpu_count() * 2 if os.cpu_count() > 4 else 2  # half of an utterance's time the synthesiser waits

    def make(first):
        os.nice(10)
        store.fill(range(first, count, makers), held_back)

    context = multiprocessing.get_context("fork")
    for first in range(makers):
        context.Process(target=make, args=(first,), daemon=True).start()
    return store


def batches(store, seed):
    """Batches without end, of utterances drawn from those that are made."""
    rng = np.random.default_rng(seed)
    while True:
        fitting = [store.fitting(low, shape[1]) for low, shape in zip([0, SHAPES[0][1]], SHAPES)]
        share = np.array([len(numbers) for numbers in fitting]) / sum(map(len, fitting))
        which = rng.choice(len(SHAPES), p=share * [0.5, 1] / (share * [0.5, 1]).sum())  # the short batch is twice as large
        shape = SHAPES[which]
        yield which, store.batch(rng.choice(fitting[which], shape[0]), shape)


def in_background(iterator, put):
    ready = queue.Queue(3)

    def run():
        for which, arrays in iterator:
            ready.put((which, put(arrays)))

    threading.Thread(target=run, daemon=True).start()
    return iter(ready.get, None)


def program():
    """Everything that needs jax, which must not be loaded before the processes have parted."""
    import jax
    import jax.numpy as jnp
    import optax

    throats = np.linspace(0.86, 1.16, 31)
    filters = jnp.asarray(np.stack([mel_filters(80, throat) for throat in throats]), jnp.bfloat16)
    usual = jnp.asarray(mel_filters(80), jnp.float32)

    def shifted(x, by):
        at = jnp.arange(x.shape[1])[None] - by[:, None]
        return jnp.where(at >= 0, jnp.take_along_axis(x, jnp.maximum(at, 0), 1), 0)

    def deviation(x, inside):
        return jnp.sqrt((x * x * inside).sum(1, keepdims=True) / inside.sum(1, keepdims=True))

    def hum_and_clicks(shape, key):
        """What is no speech: a hum of 40 to 400 Hz and a click now and then, each at any level."""
        count, samples = shape
        keys, time = jax.random.split(key, 4), jnp.arange(samples)[None]
        hum = jnp.sin(time * jax.random.uniform(keys[0], (count, 1), minval=40, maxval=400) * (2 * np.pi / RATE))
        clicks = time % jax.random.randint(keys[1], (count, 1), 1_000, 12_000) < 12
        loud = jax.random.uniform(keys[2], (2, count, 1)) ** 3
        return hum * loud[0] + clicks * loud[1] + 1e-3

    def noisy(x, inside, key, quiet):
        """Two echoes for some, then white or low noise; other sounds in place of `quiet` utterances."""
        count, samples = x.shape
        keys = jax.random.split(key, 10)
        if quiet is not None:
            for i in range(2):
                gain = jax.random.uniform(keys[i], (count, 1), maxval=0.3)
                gain *= jax.random.bernoulli(keys[2 + i], 0.35, (count, 1))
                x += gain * shifted(x, jax.random.randint(keys[4 + i], (count,), 80, 2_400))
        noise = jax.random.normal(keys[6], x.shape)
        low = jnp.cumsum(noise, 1)
        sums = jnp.cumsum(jnp.pad(low, ((0, 0), (201, 200)), mode="edge"), 1)
        low -= (sums[:, 400 : 400 + samples] - sums[:, :samples]) / 400
        noise = jnp.where(jax.random.bernoulli(keys[7], 0.5, (count, 1)), noise, low)
        ratio = jax.random.uniform(keys[8], (count, 1), minval=8.0, maxval=40.0)
        if quiet is not None:
            x = jnp.where(quiet, hum_and_clicks(x.shape, keys[9]), x)
            ratio = jnp.where(quiet, 1.5 * ratio - 30, ratio)
        return x + noise * (deviation(x, inside) / deviation(noise, inside) * 10 ** (-ratio / 20))

    def frames(sound, length, key, quiet=None):
        """What the model takes, of sounds with noise; and which of its frames are inside. Learning has `quiet` ones."""
        learning = quiet is not None
        k_noise, k_throat, k_curve, k_band, k_time = jax.random.split(key, 5)
        count, samples = sound.shape
        x = sound.astype(jnp.float32) / 32_768
        x = noisy(x, jnp.arange(samples)[None] < length[:, None], k_noise, quiet)
        total = samples // 160
        parts = jnp.pad(x, ((0, 0), (200, 200)), mode="reflect")
        rows = [parts[:, at : at + total * 160].reshape(count, total, 160) for at in (0, 160)]
        rows.append(jnp.pad(parts[:, 320:], ((0, 0), (0, 160)))[:, : total * 160].reshape(count, total, 160)[..., :80])
        power = jnp.abs(jnp.fft.rfft(jnp.concatenate(rows, -1) * jnp.asarray(WINDOW, jnp.float32))) ** 2
        if learning:
            which = jax.random.randint(k_throat, (count,), 0, len(throats))
            # In bfloat16 with sums in float32: 0.4 % of a band's power, 0.002 of its logarithm.
            mel = jnp.einsum("btf,bfm->btm", power.astype(jnp.bfloat16), filters[which], preferred_element_type=jnp.float32)
        else:
            mel = power @ usual
        mel = jnp.log10(jnp.maximum(mel, 1e-10))
        if learning:
            band = jnp.arange(80) / 80
            tilt, phase, wave = jax.random.uniform(k_curve, (3, count, 1), minval=-1.0)
            mel += (0.5 * tilt * (band - 0.5) + 0.3 * wave * jnp.sin(5 * (band + phase)))[:, None]
        inside = jnp.arange(total)[None] < (length // 160)[:, None]
        most = jnp.where(inside[..., None], mel, -10).max((1, 2), keepdims=True)
        mel = (jnp.maximum(mel, most - 8) + 4) / 4
        if learning:
            mel += jax.random.uniform(k_band, (count, 1, 1), minval=-0.15, maxval=0.15)
            mean = mel.mean((1, 2), keepdims=True)
            for i, key in enumerate(jax.random.split(k_time, 4)):
                size = 80 if i % 2 else total
                at, width = jax.random.randint(key, (2, count, 1), 0, jnp.array([size, 13])[:, None, None])
                blank = (jnp.arange(size) >= at) & (jnp.arange(size) < at + width)
                mel = jnp.where(blank[:, None, :] if i % 2 else blank[..., None], mean, mel)
        return jnp.where(inside[..., None], mel, 0), jnp.arange(total // 3)[None] < ((length // 160 + 2) // 3)[:, None]

    def initial(key):
        keys = iter(jax.random.split(key, 40))

        def normal(*shape):
            return jax.random.normal(next(keys), shape) * np.sqrt(2 / np.prod(shape[:-1]))

        w = {"in": normal(9, 80, CHANNELS), "in_bias": jnp.zeros(CHANNELS)}
        for layer in range(len(DILATIONS)):
            w |= {f"conv{layer}": normal(KERNEL, CHANNELS, CHANNELS) * 0.5, f"bias{layer}": jnp.zeros(CHANNELS)}
            w |= {f"scale{layer}": jnp.ones(CHANNELS), f"shift{layer}": jnp.zeros(CHANNELS)}
        w |= {"scale_out": jnp.ones(CHANNELS), "shift_out": jnp.zeros(CHANNELS)}
        return w | {"out": normal(CHANNELS, CLASSES) * 0.3, "out_bias": jnp.zeros(CLASSES)}

    def product(x, kernel):
        flat = kernel.reshape(-1, kernel.shape[-1]).astype(jnp.bfloat16)
        return jnp.matmul(x.astype(jnp.bfloat16), flat, preferred_element_type=jnp.float32)

    def convolve(x, kernel, dilation):
        reach = dilation * (KERNEL // 2)
        padded = jnp.pad(x.astype(jnp.bfloat16), ((0, 0), (reach, reach), (0, 0)))
        taps = [padded[:, i * dilation : i * dilation + x.shape[1]] for i in range(KERNEL)]
        return product(jnp.concatenate(taps, -1), kernel)

    def layer_norm(x, scale, shift):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * scale + shift

    def logits(w, mel, inside, key=None):
        padded = jnp.pad(mel, ((0, 0), (3, 8), (0, 0)))
        taps = [padded[:, i : i + mel.shape[1] : 3] for i in range(9)]
        x = jax.nn.relu(product(jnp.concatenate(taps, -1), w["in"]) + w["in_bias"])
        for layer, dilation in enumerate(DILATIONS):
            normed = layer_norm(x, w[f"scale{layer}"], w[f"shift{layer}"]) * inside[..., None]
            h = jax.nn.relu(convolve(normed, w[f"conv{layer}"], dilation) + w[f"bias{layer}"])
            if key is not None:
                key, drop = jax.random.split(key)
                h = h * jax.random.bernoulli(drop, 0.9, h.shape) / 0.9
            x = x + h
        return layer_norm(x, w["scale_out"], w["shift_out"]) @ w["out"] + w["out_bias"]

    def loss(w, sound, length, letters, key):
        k_frames, k_drop, k_quiet = jax.random.split(key, 3)
        quiet = jax.random.bernoulli(k_quiet, QUIET, (len(length), 1))
        letters = jnp.where(quiet, 0, letters)
        mel, inside = frames(sound, length, k_frames, quiet)
        out, none = logits(w, mel, inside, k_drop), (letters == 0).astype(jnp.float32)
        per_text = optax.ctc_loss(out, 1.0 - inside, letters.astype(jnp.int32), none)
        return (per_text / jnp.where(quiet[:, 0], 20, (1 - none).sum(1))).mean()

    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.add_decayed_weights(1e-3))

    def step(w, state, average, sound, length, letters, key, rate):
        value, gradient = jax.value_and_grad(loss)(w, sound, length, letters, key)
        update, state = optimiser.update(gradient, state, w)
        w = jax.tree.map(lambda a, b: a - rate * b, w, update)
        return w, state, jax.tree.map(lambda a, b: AVERAGE * a + (1 - AVERAGE) * b, average, w), value

    def best(w, sound, length):
        mel, inside = frames(sound, length, jax.random.PRNGKey(0))
        return logits(w, mel, inside).argmax(-1)

    w = initial(jax.random.PRNGKey(0))
    return jax.jit(step, donate_argnums=(0, 1, 2)), jax.jit(best), w, optimiser.init(w)


def validated(best, w, store):
    """Word error on the utterances that the makers put aside."""
    numbers, shape = store.fitting(0, LONGEST, validation=True), SHAPES[1]
    wrong = total = 0
    for at in range(0, len(numbers), shape[0]):
        some = np.resize(numbers[at : at + shape[0]], shape[0])
        sound, length, letters = store.batch(some, shape)
        for row, n, text in list(zip(np.asarray(best(w, sound, length)), length, letters))[: len(numbers) - at]:
            truth = "".join(LETTERS[c - 1] for c in text if c).split()
            wrong += edits(truth, spelled(row[: (n // 160 + 2) // 3]).split())
            total += len(truth)
    return wrong / max(total, 1)


def main():
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    seconds, began = float(sys.argv[1]) * 60, time.time()
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 120_000
    folder = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else ".")
    store = start_making(count)
    step, best, w, state = program()

    import jax
    import jax.numpy as jnp

    while store.made() < min(4_000, count):
        time.sleep(0.2)
    print(f"{jax.devices()[0].device_kind}, {store.made()} utterances after {time.time() - began:.0f} s", flush=True)
    average, key, done, shown = jax.tree.map(jnp.copy, w), jax.random.PRNGKey(1), 0, time.time()
    for which, arrays in in_background(batches(store, 0), jax.device_put):
        progress = (time.time() - began) / seconds
        rate = PEAK_RATE * min(1, (done + 1) / 300) * (0.5 + 0.5 * np.cos(np.pi * min(progress, 1))) + 1e-6
        key, use = jax.random.split(key)
        w, state, average, value = step(w, state, average, *arrays, use, np.float32(rate))
        done += 1
        if done % 20 == 0:
            value.block_until_ready()  # so that the clock knows what was done
        if done in (1, 2, 20) or time.time() - shown > 20 or progress >= 1:
            shown = time.time()
            error = validated(best, average, store) if done > 20 else 1
            print(f"{done} steps, {store.made()} utterances, {time.time() - began:.0f} s: loss {value:.3f}, validation {error:.3f}", flush=True)
            np.savez(folder / "weights.new.npz", **{name: np.asarray(value, np.float16) for name, value in average.items()})
            os.replace(folder / "weights.new.npz", folder / "weights.npz")
        if progress >= 1:
            os._exit(0)  # the makers and the thread have nothing to finish


if __name__ == "__main__":
    main()
