"""How long calibrated rounding takes beside llm-compressor's GPTQ: runs both programs in turns on one
model, the same number of calibration tokens and the same number of threads, and prints a Markdown
table of seconds with their ratio.

usage: against_llmcompressor.py --fptq PROGRAM --python PYTHON --model DIRECTORY --calib TEXT
                                [--samples 128] [--seqlen 512] [--threads 2] [--rounds 3]
                                [--schemes w4a8,w4a16] [--set KEY=VALUE ...]

PYTHON is an interpreter that has llm-compressor installed (pip install llmcompressor). Weights are
rounded to 4 bits in symmetric groups of 32; embedding and classifier are left alone.

Two times are taken of each program, the shortest of all rounds. "Rounding" is calibration and
rounding alone: for llm-compressor the call of oneshot(), with the model in memory, the tokens made
and nothing written; for fptq the time from the first block to the last ("rounding_seconds" of
--json), which includes making finished blocks durable on disk. "Whole" is what a user waits for: the
process, with loading, tokenizing and writing, and for llm-compressor the import of its libraries.

--set changes settings of the recipe fptq, for what a cheaper recipe costs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time


def quantize_inside(options):
    """llm-compressor's part, run by PYTHON: prints the seconds of oneshot() as JSON."""
    import torch
    torch.set_num_threads(options.threads)
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from datasets import Dataset
    from llmcompressor import oneshot
    from llmcompressor.modifiers.quantization import GPTQModifier
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    # Characters enough for all windows, whatever the tokenizer.
    text = pathlib.Path(options.calib).read_text(encoding="utf-8")
    tokens = options.samples * options.seqlen
    ids = tokenizer(text[:12 * tokens], add_special_tokens=False)["input_ids"]
    if len(ids) < tokens:
        sys.exit(f"{options.calib}: expected {tokens} tokens, got {len(ids)}")
    windows = [ids[i * options.seqlen:(i + 1) * options.seqlen] for i in range(options.samples)]
    data = Dataset.from_dict({"input_ids": windows,
                              "attention_mask": [[1] * options.seqlen] * options.samples})
    weights = QuantizationArgs(num_bits=4, type="int", symmetric=True, strategy="group",
                               group_size=32)
    activations = None
    if options.scheme == "w4a8":
        activations = QuantizationArgs(num_bits=8, type="int", symmetric=True, strategy="token",
                                       dynamic=True)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights,
                                input_activations=activations)
    recipe = GPTQModifier(config_groups={"group_0": scheme}, ignore=["lm_head"])
    began = time.perf_counter()
    oneshot(model=model, processor=tokenizer, dataset=data, recipe=recipe,
            max_seq_length=options.seqlen, num_calibration_samples=options.samples)
    seconds = time.perf_counter() - began
    model.save_pretrained(options.output)
    print("SECONDS " + json.dumps(seconds))


def run(command, environment):
    began = time.monotonic()
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {result.stderr[-2000:].strip()}")
    return result, time.monotonic() - began


def run_peer(options, scheme, folder):
    """(seconds of oneshot(), seconds of the process)."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), HF_HUB_OFFLINE="1",
                       CUDA_VISIBLE_DEVICES="")
    command = [options.python, __file__, "--inside", "--scheme", scheme, "--output",
               str(folder / "peer"), "--model", options.model, "--calib", options.calib,
               "--samples", str(options.samples), "--seqlen", str(options.seqlen), "--threads",
               str(options.threads)]
    result, whole = run(command, environment)
    line = [line for line in result.stdout.splitlines() if line.startswith("SECONDS ")][-1]
    return json.loads(line.split(" ", 1)[1]), whole


def write_recipe(options, scheme, folder):
    """A recipe file: fptq with the scheme and the settings that the user changed."""
    activations = "a8t" if scheme == "w4a8" else "a16"
    result, _ = run([options.fptq, "quantize", "--recipe", "fptq", "--weights", "w4g32",
                     "--symmetric", "--activations", activations, "--embed", "keep", "--head",
                     "keep", "--calib", options.calib, "--samples", str(options.samples),
                     "--seqlen", str(options.seqlen), "--print-recipe"], None)
    changes = dict(change.split("=", 1) for change in options.set)
    lines = []
    for line in result.stdout.splitlines():
        key = line.split(":")[0]
        lines.append(f"{key}: {changes.pop(key)}" if key in changes else line)
    if changes:
        sys.exit(f"--set: the recipe has no setting {', '.join(changes)}")
    path = folder / "recipe.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def run_fptq(options, scheme, folder):
    """(seconds of rounding, seconds of the process)."""
    recipe = write_recipe(options, scheme, folder)
    result, whole = run([options.fptq, "quantize", options.model, "-o", str(folder / "fptq"),
                         "--overwrite", "--recipe", str(recipe), "--threads",
                         str(options.threads), "--json", "-", "--quiet"], None)
    return json.loads(result.stdout)["rounding_seconds"], whole


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "calib"):
        parser.add_argument(f"--{name}", required=True)
    for name, default in (("seqlen", 512), ("samples", 128), ("threads", 2), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--fptq")
    parser.add_argument("--python")
    parser.add_argument("--schemes", default="w4a8,w4a16")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    for name in ("scheme", "output"):  # of --inside
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        return quantize_inside(options)
    if not options.fptq or not options.python:
        parser.error("--fptq and --python are needed")
    print("| scheme | what | llm-compressor, s | fptq, s | ratio |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="fptq_against_") as name:
        folder = pathlib.Path(name)
        for scheme in options.schemes.split(","):
            peer, own = [], []
            for _ in range(options.rounds):
                peer.append(run_peer(options, scheme, folder))
                own.append(run_fptq(options, scheme, folder))
            for index, what in enumerate(("rounding", "whole")):
                theirs = min(times[index] for times in peer)
                ours = min(times[index] for times in own)
                print(f"{scheme} {what}: llm-compressor {[round(t[index], 1) for t in peer]}, "
                      f"fptq {[round(t[index], 1) for t in own]}", file=sys.stderr)
                print(f"| {scheme} | {what} | {theirs:.1f} | {ours:.1f} | {ours / theirs:.2f} |",
                      flush=True)


if __name__ == "__main__":
    main()
