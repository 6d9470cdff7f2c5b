"""Holds fptq's quantized checkpoints against the real transformers, compressed-tensors and bitsandbytes.

For every scheme: fptq quantizes, transformers loads the result without any help, and both compute
the logits of the same tokens, with activations in floating point and then quantized. Models are
made here with a fixed seed, so that nothing has to be downloaded; where the directory of test data
(FPTQ_TEST_DATA) is there, its real model and the checkpoints that compressed-tensors wrote are
checked too. NF4 and FP4 are compared with bitsandbytes byte for byte, and both ways: it loads what
fptq wrote, and fptq what it wrote.

usage: check.py --fptq PROGRAM --work DIR
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import bitsandbytes.functional
import numpy as np
import torch
import transformers
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from compressed_tensors.transform import TransformBase, TransformConfig, apply_transform_config
from safetensors.torch import load_file

# Weights are equal and both run in float32, so that only the order of sums differs:
# relative to the largest |logit|.
FLOAT_BOUND = 1e-4
# 8-bit activations lie on different grids (fptq: max/127 without -128, the library: max/127.5), so
# that logits cannot agree more closely than either agrees with float activations. What is compared is
# the size of that error, root mean square: fptq's divided by the library's.
ERROR_RATIO_BOUND = 1.5

SCHEMES = {
    "w4g32": ["--recipe", "rtn"],
    "w4g32-symmetric": ["--recipe", "rtn", "--symmetric"],
    "w4g64": ["--recipe", "rtn", "--weights", "w4g64"],
    "w4g128": ["--recipe", "rtn", "--weights", "w4g128"],
    "w4g48, a shorter last group": ["--recipe", "rtn", "--weights", "w4g48"],
    "w4g80-symmetric, a shorter last group": ["--recipe", "rtn", "--weights", "w4g80",
                                              "--symmetric"],
    "w8g80, a shorter last group": ["--recipe", "int8", "--weights", "w8g80"],
    "w4c": ["--recipe", "rtn", "--weights", "w4c"],
    "w4c-asymmetric": ["--recipe", "rtn", "--weights", "w4c-asym"],
    "w8c": ["--recipe", "int8"],
    "linears-only": ["--recipe", "rtn", "--embed", "keep", "--head", "keep"],
    "head-only-differs": ["--recipe", "rtn", "--head", "w4g32"],
    "rotated inputs": ["--recipe", "rtn", "--rotate-down", "hadamard"],
    "rotated inputs, a layer kept": ["--recipe", "rtn", "--weights", "w4c", "--symmetric",
                                     "--rotate-down", "hadamard", "--override",
                                     r"layers\.0\..*down_proj=keep"],
    "mixed": ["--recipe", "rtn", "--override", "down_proj=w8c", "--override",
              r"layers\.0\..*o_proj=keep"],
}

# With a text to calibrate on, for models that have a tokenizer.
CALIBRATED = {
    "fptq": ["--recipe", "fptq"],
    "fptq, groups of 64, symmetric": ["--recipe", "fptq", "--weights", "w4g64", "--symmetric"],
    "fptq, per channel": ["--recipe", "fptq", "--weights", "w4c", "--symmetric"],
    "int8 by GPTQ": ["--recipe", "int8", "--rounding", "gptq"],
    "searched grids": ["--recipe", "rtn", "--rounding", "search"],
    "hqq": ["--recipe", "rtn", "--rounding", "hqq"],
    "fptq, rotated inputs": ["--recipe", "fptq", "--rotate-down", "hadamard"],
    "static activations": ["--recipe", "int8", "--activations", "a8s"],
}

# bitsandbytes multiplies in bfloat16 on a CPU, whatever the type of inputs: relative to the largest
# |logit|.
BFLOAT_BOUND = 5e-2

TABLES = {
    "nf4": ("nf4", 64, True, ["--recipe", "nf4"]),
    "fp4": ("fp4", 64, True, ["--weights", "fp4"]),
    "nf4b128, float constants": ("nf4", 128, False, ["--weights", "nf4b128"]),
    "nf4, a layer kept": ("nf4", 64, True, ["--recipe", "nf4", "--override",
                                            r"layers\.1\..*up_proj=keep"]),
}


def make_models(directory):
    """Llama models with random weights: tied float32, untied bfloat16, tied bfloat16."""
    models = {}
    for name, tied, dtype in [("tied-f32", True, torch.float32),
                              ("untied-bf16", False, torch.bfloat16),
                              ("tied-bf16", True, torch.bfloat16)]:
        torch.manual_seed(7)
        config = transformers.LlamaConfig(
            vocab_size=320, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
            initializer_range=0.1, tie_word_embeddings=tied)
        transformers.LlamaForCausalLM(config).to(dtype).save_pretrained(directory / name)
        models[name] = directory / name
    return models


class Checker:
    def __init__(self, program, work):
        self.program = program
        self.work = work
        self.failures = 0

    def fptq(self, *arguments):
        result = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if result.returncode != 0:
            raise RuntimeError(f"fptq {' '.join(map(str, arguments))}: {result.stderr.strip()}")

    def fptq_logits(self, model, ids, *arguments):
        out = self.work / "logits.npy"
        self.fptq("logits", model, "--ids", ",".join(map(str, ids)), "-o", out, *arguments)
        return np.load(out)

    def report(self, name, error, bound):
        verdict = "ok" if error <= bound else "FAILED"
        self.failures += error > bound
        print(f"{verdict:6} {name:64} {error:.2g} (bound {bound:g})", flush=True)

    def check_scheme(self, name, model, flags, ids):
        out = self.work / "quantized"
        shutil.rmtree(out, ignore_errors=True)
        self.fptq("quantize", model, "-o", out, *flags)
        loaded = load(out)
        quantized = library_logits(loaded, ids)
        for module in loaded.modules():
            if hasattr(module, "quantization_scheme"):
                module.quantization_scheme.input_activations = None
        floats = library_logits(loaded, ids)
        ours = self.fptq_logits(out, ids, "--activations", "a16")
        self.report(f"{name}, float activations", relative(ours, floats), FLOAT_BOUND)
        ours = self.fptq_logits(out, ids)
        ratio = rms(ours - floats) / rms(quantized - floats)
        self.report(f"{name}, error of 8-bit activations / theirs", ratio, ERROR_RATIO_BOUND)

    def check_table(self, name, model, ids, table, block, nested, flags):
        """NF4 and FP4: the bytes of bitsandbytes' quantizer, and its logits."""
        out = self.work / "quantized"
        shutil.rmtree(out, ignore_errors=True)
        self.fptq("quantize", model, "-o", out, *flags)
        source = load_file(model / "model.safetensors")
        mine = load_file(out / "model.safetensors")
        weights = [key.removesuffix(".quant_map") for key in mine if key.endswith("weight.quant_map")]
        different = 0
        dense = {}
        for weight in weights:
            packed, state = bitsandbytes.functional.quantize_4bit(
                source[weight], blocksize=block, compress_statistics=nested, quant_type=table)
            dense[weight] = restored(packed, state, source[weight].shape)
            theirs = {weight: packed, f"{weight}.absmax": state.absmax,
                      f"{weight}.quant_map": state.code}
            if nested:
                theirs[f"{weight}.nested_absmax"] = state.state2.absmax
                theirs[f"{weight}.nested_quant_map"] = state.state2.code
            different += sum(not same_values(mine[key], value) for key, value in theirs.items())
        self.report(f"{name}, tensors unlike bitsandbytes'", different / len(weights), 0.0)

        reference = load(model)
        reference.load_state_dict(dense, strict=False)
        ours = self.fptq_logits(out, ids)
        self.report(f"{name}, logits of restored weights",
                    relative(ours, library_logits(reference, ids)), FLOAT_BOUND)
        # bitsandbytes' CPU code takes no rows that blocks straddle.
        if any(source[weight].shape[1] % block for weight in weights):
            return
        theirs = load(out)
        kept = {key for key, module in theirs.named_modules()
                if isinstance(module, torch.nn.Linear) and "Linear4bit" not in str(type(module))}
        quantized = {weight.removesuffix(".weight") for weight in weights}
        self.report(f"{name}, layers loaded as another kind", len(kept & quantized), 0)
        self.report(f"{name}, logits", relative(ours, library_logits(theirs, ids)), BFLOAT_BOUND)
        if block != 64 or kept - {"lm_head"}:
            return
        # What transformers quantizes and saves by itself.
        saved = self.work / "saved"
        shutil.rmtree(saved, ignore_errors=True)
        transformers.AutoModelForCausalLM.from_pretrained(
            model, dtype=source[weights[0]].dtype,
            quantization_config=transformers.BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type=table,
                bnb_4bit_use_double_quant=nested)).save_pretrained(saved)
        self.report(f"{name}, logits of what transformers saved",
                    relative(self.fptq_logits(saved, ids), ours), FLOAT_BOUND)

    def check_golden(self, golden, tiny):
        """What compressed-tensors wrote: fptq computes its logits, and rounds to its codes."""
        for name, weights, symmetric in [("w4g32-sym", "w4g32", "true"),
                                         ("w4g32-asym", "w4g32", "false"),
                                         ("w8c-a8t", "w8c", "true")]:
            folder = golden / name
            ids = np.load(folder / "expected.ids.npy").tolist()
            expected = np.load(folder / "expected.logits_dense_weights.npy")
            ours = self.fptq_logits(folder, ids, "--activations", "a16")
            self.report(f"golden {name}, logits", relative(ours, expected), FLOAT_BOUND)

            recipe = self.work / "recipe.yaml"
            recipe.write_text(f"weights: {weights}\nsymmetric: {symmetric}\nembed: keep\n"
                              "head: keep\nscale_dtype: f32\n")
            out = self.work / "quantized"
            shutil.rmtree(out, ignore_errors=True)
            self.fptq("quantize", tiny / "plain", "-o", out, "--recipe", recipe)
            theirs = load_file(folder / "model.safetensors")
            mine = load_file(out / "model.safetensors")
            # fptq stores a byte per zero point (docs/formats/compressed-tensors.md).
            for key in theirs:
                if key.endswith("weight_zero_point") and theirs[key].dtype == torch.int32:
                    theirs[key] = unpack_from_int32(theirs[key], 4, mine[key].shape, packed_dim=0)
            same = theirs.keys() == mine.keys() and all(
                torch.equal(theirs[key], mine[key]) for key in theirs)
            self.report(f"golden {name}, codes and scales equal", 0.0 if same else 1.0, 0.0)


def restored(packed, state, shape):
    """What the codes stand for, in float32. bitsandbytes 0.50.2's own function gives other weights
    on CPUs with AVX-512 where rows are no whole number of blocks."""
    absmax = state.absmax
    if state.nested:
        nested = state.state2.absmax.repeat_interleave(256)[:absmax.numel()]
        absmax = state.state2.code[absmax.long()] * nested + state.offset
    codes = torch.stack([packed >> 4, packed & 15], dim=1).flatten()[:shape.numel()].long()
    return (state.code[codes]
            * absmax.repeat_interleave(state.blocksize)[:shape.numel()]).reshape(shape)


def same_values(mine, theirs):
    """Equal, or float32 that differs by the order in which torch added the mean."""
    if mine.dtype != torch.float32:
        return torch.equal(mine, theirs)
    return torch.allclose(mine, theirs, rtol=1e-6, atol=0)


def load(directory):
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    apply_transforms(model, directory)
    return model


def apply_transforms(model, directory):
    """Online transforms by compressed-tensors itself: transformers 5.23 loads a checkpoint that has some
    without a word about them."""
    config = json.loads((directory / "config.json").read_text())
    transforms = config.get("quantization_config", {}).get("transform_config")
    if not transforms or any(isinstance(module, TransformBase) for module in model.modules()):
        return
    apply_transform_config(model, TransformConfig.model_validate(transforms))


@torch.no_grad()
def library_logits(model, ids):
    return model(torch.tensor([ids])).logits[0].float().numpy()


def relative(ours, theirs):
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fptq", required=True, type=pathlib.Path)
    parser.add_argument("--work", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    checker = Checker(arguments.fptq.resolve(), arguments.work)
    models = make_models(arguments.work / "models")
    repository = pathlib.Path(__file__).resolve().parents[2]
    data = pathlib.Path(os.environ.get("FPTQ_TEST_DATA", repository.parent / "shared"))
    if (data / "models/stories15m").exists():
        models["stories15m"] = data / "models/stories15m"
    else:
        print(f"no test data at {data}: made models only")
    ids = [1] + list(range(5, 300, 9))
    for model_name, model in models.items():
        for name, flags in SCHEMES.items():
            checker.check_scheme(f"{model_name} {name}", model, flags, ids)
        for name, table in TABLES.items():
            checker.check_table(f"{model_name} {name}", model, ids, *table)
        if not (model / "tokenizer.json").exists():
            continue
        for name, flags in CALIBRATED.items():
            checker.check_scheme(f"{model_name} {name}", model,
                                 [*flags, "--calib", repository / "docs/demo-text.txt",
                                  "--samples", "16", "--seqlen", "128"], ids)
    if (data / "golden/formats/compressed-tensors").exists():
        checker.check_golden(data / "golden/formats/compressed-tensors", data / "golden/logits/tiny")
    if checker.failures:
        sys.exit(f"interop: {checker.failures} checks failed")
    print("interop: all checks passed")


if __name__ == "__main__":
    main()
