#!/usr/bin/env python3
"""Makes two tiny Whisper directories of random weights in Optimum's layout, and what transformers says of them.

    make.py WHISPER      WHISPER is the unpacked source of openai-whisper 20250625 (for multilingual.tiktoken)

    tiny/        80 bands; encoder, decoder, decoder with past, and both merged into one
    tiny128/     128 bands, as large-v3; encoder and merged decoder only
    reference.json.zst   encoder outputs, logits and tokens: WhisperForConditionalGeneration.generate, greedy and 5 beams

The vocabulary is the first merges of Whisper's and a handful of languages, so that the files are small: nothing here knows a
word. Weights are large, so that the tokens do not repeat at once.

Needs: Debian's python3-torch (1.13.1); pip install transformers==4.36.2 optimum==1.16.2 onnx==1.16.2 onnxruntime==1.23.2 numpy==1.26.4
"huggingface_hub<0.25"; and the programs zstd and optimum-cli.
"""

import base64
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

HERE = pathlib.Path(__file__).parent
RATE, WINDOW = 16_000, 480_000
MERGES = 640
LANGUAGES = ["en", "de", "es", "ru", "ja"]
AFTER_LANGUAGES = ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
SPECIALS = ["<|endoftext|>", "<|startoftranscript|>"] + [f"<|{code}|>" for code in LANGUAGES] + AFTER_LANGUAGES
SPECIALS += [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
MOST_TOKENS = 40
# Of weights with these parts in their names: what is heard must reach what is said.
FACTORS = [("embed_tokens", 14), ("encoder_attn", 30), ("encoder.embed_positions", 1.6), ("", 8)]
SOUNDS = HERE.parent / "speech"


def byte_letters():
    """GPT-2's printable letter of every byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 0
    for byte in range(256):
        letters[byte] = chr(byte) if byte in printable else chr(256 + extra)
        extra += byte not in printable
    return letters


def split(token, below, ranks):
    """The two parts that byte-pair merges of lower rank leave of a token."""
    parts = [bytes([byte]) for byte in token]
    while True:
        merges = [(ranks[a + b], i) for i, (a, b) in enumerate(zip(parts, parts[1:])) if ranks.get(a + b, below) < below]
        if not merges:
            return parts
        _, i = min(merges)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def tokenizer(whisper):
    lines = (whisper / "whisper/assets/multilingual.tiktoken").read_text().split("\n")
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in lines if line)}
    ranks = {token: rank for token, rank in ranks.items() if rank < 256 + MERGES}
    letters = byte_letters()

    def spelled(token):
        return "".join(letters[byte] for byte in token)

    merges = [tuple(map(spelled, split(token, rank, ranks))) for token, rank in ranks.items() if len(token) > 1]
    made = Tokenizer(models.BPE(vocab={spelled(token): rank for token, rank in ranks.items()}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(special, special=True) for special in SPECIALS])
    return made


def model(tokens, bands, seed, end_like):
    """Random weights; the end is said about where token `end_like` would be."""
    ids = {special: tokens.token_to_id(special) for special in SPECIALS}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    shape = dict(d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2)
    config = WhisperConfig(
        vocab_size=tokens.get_vocab_size(), num_mel_bins=bands, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_source_positions=1500, max_target_positions=448, decoder_start_token_id=start, eos_token_id=end,
        pad_token_id=end, bos_token_id=end, suppress_tokens=None, begin_suppress_tokens=None, **shape,
    )
    torch.manual_seed(seed)
    made = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if weight.dim() > 1:
                weight.mul_(next(factor for part, factor in FACTORS if part in name))
        made.model.decoder.embed_tokens.weight[end] = 1.03 * made.model.decoder.embed_tokens.weight[end_like]
    space = tokens.encode(" ").ids[0]
    suppressed = [tokens.token_to_id(letter) for letter in "#*()<>"]
    timestamps = [ids[special] for special in SPECIALS[-1501:]]
    made.generation_config = GenerationConfig(
        decoder_start_token_id=start, eos_token_id=end, pad_token_id=end, bos_token_id=end, max_length=MOST_TOKENS,
        no_timestamps_token_id=ids["<|notimestamps|>"], is_multilingual=True,
        lang_to_id={f"<|{code}|>": ids[f"<|{code}|>"] for code in LANGUAGES},
        task_to_id={"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]},
        begin_suppress_tokens=[space, end], suppress_tokens=suppressed + timestamps + [ids[s] for s in SPECIALS[1:-1501]],
    )
    return made


def export(made, tokens, target, merged_only):
    with tempfile.TemporaryDirectory() as folder:
        source, out = pathlib.Path(folder) / "pytorch", pathlib.Path(folder) / "onnx"
        made.save_pretrained(source)
        command = ["optimum-cli", "export", "onnx", "--model", source, "--task", "automatic-speech-recognition-with-past", out]
        subprocess.run(command, check=True, capture_output=True)
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        names = ["config.json", "generation_config.json", "encoder_model.onnx", "decoder_model_merged.onnx"]
        for name in names if merged_only else [*names, "decoder_model.onnx", "decoder_with_past_model.onnx"]:
            shutil.copy(out / name, target / name)
    tokens.save(str(target / "tokenizer.json"), pretty=False)


def sounds():
    """Name and samples; `long` is 31 s of the others one after the other."""
    made = {}
    for path in sorted(SOUNDS.glob("*.s16.zst")):
        raw = subprocess.run(["zstd", "-q", "-d", "-c", path], check=True, capture_output=True).stdout
        made[path.name.removesuffix(".s16.zst")] = np.frombuffer(raw, "<i2")
    made["silence"] = np.zeros(RATE, np.int16)
    made["short"] = made["clipped"][8_000 : 8_000 + RATE // 10]
    made["long"] = np.resize(np.concatenate([made[name] for name in ("greeting", "noisy", "clipped")]), 31 * RATE)
    return made


def windows(samples):
    """30 s each; what is longer is cut at its quietest hundredth of a second among the last five."""
    found = []
    while len(samples) > WINDOW:
        frames = samples[WINDOW - 5 * RATE : WINDOW].astype(np.int64).reshape(-1, 160)
        cut = WINDOW - 5 * RATE + 160 * int((frames**2).sum(1).argmin()) + 80
        found.append(samples[:cut])
        samples = samples[cut:]
    return [*found, samples]


def spoken_language(made, encoded):
    """The language whose token the model finds most probable after the start token."""
    start = torch.tensor([[made.generation_config.decoder_start_token_id]])
    with torch.no_grad():
        logits = made(encoder_outputs=(encoded,), decoder_input_ids=start).logits[0, -1]
    codes = made.generation_config.lang_to_id
    return max(codes, key=lambda code: float(logits[codes[code]]))


def heard(made, features, language, beams):
    with torch.no_grad():
        return made.generate(features, num_beams=beams, do_sample=False, task="transcribe", language=language)[0].tolist()


def reference(made, bands, tokens):
    extractor = WhisperFeatureExtractor(feature_size=bands)
    prompt_ends = tokens.token_to_id("<|notimestamps|>")
    cases = {}
    for name, samples in sounds().items():
        cases[name] = []
        for window in windows(samples):
            x = extractor(window.astype(np.float32) / 32_768, sampling_rate=RATE, return_tensors="pt")["input_features"]
            with torch.no_grad():
                encoded = made.model.encoder(x).last_hidden_state
            language = spoken_language(made, encoded)
            ids, beams = heard(made, x, language, 1), heard(made, x, language, 5)
            with torch.no_grad():
                logits = made(encoder_outputs=(encoded,), decoder_input_ids=torch.tensor([ids[:-1]])).logits[0]
            rows = {str(i): [round(float(v), 5) for v in logits[i][::11]] for i in sorted({0, 3, len(ids) - 2})}
            cases[name].append({
                "samples": len(window),
                "encoded": [round(float(v), 6) for v in encoded.flatten()[::997]],
                "logits_of_every_11th": rows,
                "greedy": ids,
                "beams": beams,
                "language": language.strip("<|>"),
                "text": tokens.decode(ids, skip_special_tokens=True),
            })
            assert ids[3] == prompt_ends, ids
            print(bands, name, len(window), language, ids[4:14], len(ids), beams[4:14], len(beams))
    return cases


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    tokens = tokenizer(pathlib.Path(sys.argv[1]))
    answers = {}
    for name, bands, seed, end_like in (("tiny", 80, 3, 297), ("tiny128", 128, 5, 305)):
        made = model(tokens, bands, seed, end_like)
        export(made, tokens, HERE / name, merged_only=bands == 128)
        answers[name] = reference(made, bands, tokens)
    packed = subprocess.run(["zstd", "-q", "-19", "-c"], input=json.dumps(answers).encode(), check=True, capture_output=True)
    (HERE / "reference.json.zst").write_bytes(packed.stdout)


if __name__ == "__main__":
    main()
