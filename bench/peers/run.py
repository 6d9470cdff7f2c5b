#!/usr/bin/env python3
"""Speed of fptq beside llama.cpp's Q4_0, on the same machine, in the same run.

usage: bench/peers/run.py GGUF --fptq build/release/fptq --model QUANTIZED [-p 512] [-n 128] [-r 5] [-t 2]

  GGUF       the model for llama.cpp; what is not Q4_0 yet is requantized to it
  QUANTIZED  the same model as `fptq quantize` wrote it

llama.cpp comes from the package llama-cpp-python, built from source for this machine (so that it
uses every instruction that the processor has) in build/peers/venv; the Q4_0 file is made in
build/peers. Runs of the two programs alternate, so that a machine that becomes slower or faster
does so for both. Printed: median, smallest and largest tokens per second, and the ratios.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
WORK = HERE.parent.parent / "build" / "peers"

# Runs inside the private environment, where llama_cpp is. One line of JSON on stdout.
MEASURE = r"""
import ctypes, json, sys, time
import llama_cpp as lc
path, prompt, decode, threads = sys.argv[1], *map(int, sys.argv[2:])
lc.llama_backend_init()
mp = lc.llama_model_default_params()
model = lc.llama_load_model_from_file(path.encode(), mp)
cp = lc.llama_context_default_params()
cp.n_ctx, cp.n_batch, cp.n_ubatch = max(prompt, decode) + 8, prompt, prompt
cp.n_threads = cp.n_threads_batch = threads
context = lc.llama_new_context_with_model(model, cp)
vocabulary = lc.llama_n_vocab(lc.llama_model_get_vocab(model))
memory = lc.llama_get_memory(context)
def run(count):
    ids = (lc.llama_token * count)(*[(i * 7919 + 13) % vocabulary for i in range(count)])
    if lc.llama_decode(context, lc.llama_batch_get_one(ids, count)) != 0:
        raise SystemExit("llama_decode failed")
    lc.llama_synchronize(context)
def measure(steps, count):
    lc.llama_memory_clear(memory, True)
    start = time.perf_counter()
    for _ in range(steps):
        run(count)
    return steps * count / (time.perf_counter() - start)
measure(1, prompt); measure(4, 1)  # not timed: pages the model in
print(json.dumps({"prefill": measure(1, prompt), "decode": measure(decode, 1)}))
"""

REQUANTIZE = r"""
import ctypes, sys
import llama_cpp as lc
params = lc.llama_model_quantize_default_params()
params.ftype = lc.LLAMA_FTYPE_MOSTLY_Q4_0
params.allow_requantize = True
sys.exit(lc.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(params)))
"""


def private_python():
    """The interpreter of an environment that has llama_cpp, made where it is missing."""
    python = WORK / "venv" / "bin" / "python"
    if not python.exists():
        venv.create(WORK / "venv", with_pip=True)
    if subprocess.run([python, "-c", "import llama_cpp"], capture_output=True).returncode != 0:
        print("building llama.cpp: this takes minutes", file=sys.stderr)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-binary",
                        "llama-cpp-python", "-r", HERE / "requirements.txt"], check=True)
    return python


def q4_0_file(python, gguf):
    target = WORK / (gguf.stem + ".requantized-q4_0.gguf")
    if not target.exists():
        partial = target.with_suffix(".partial")
        subprocess.run([python, "-c", REQUANTIZE, gguf, partial], check=True, capture_output=True)
        partial.rename(target)
    return target


def run_json(command):
    done = subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1] if "-c" in command else done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("gguf", type=pathlib.Path)
    parser.add_argument("--fptq", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--decode", type=int, default=128)
    parser.add_argument("-r", "--repeats", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here")
    arguments = parser.parse_args()

    WORK.mkdir(parents=True, exist_ok=True)
    python = private_python()
    peer_file = q4_0_file(python, arguments.gguf)
    speeds = {"llama.cpp": {"prefill": [], "decode": []}, "fptq": {"prefill": [], "decode": []}}
    for _ in range(arguments.repeats):
        peer = run_json([python, "-c", MEASURE, peer_file, arguments.prompt, arguments.decode,
                         arguments.threads])
        ours = run_json([arguments.fptq, "bench", arguments.model, "-p", arguments.prompt, "-n",
                         arguments.decode, "-r", 1, "--threads", arguments.threads, "--json", "-"])
        for phase in ("prefill", "decode"):
            speeds["llama.cpp"][phase].append(peer[phase])
            speeds["fptq"][phase].append(ours[phase][0]["tok_s_median"])

    print(f"{'':10}{'program':12}{'median':>10}{'min':>10}{'max':>10}  tok/s")
    for phase in ("prefill", "decode"):
        for program, of in speeds.items():
            values = of[phase]
            print(f"{phase:10}{program:12}{statistics.median(values):10.1f}{min(values):10.1f}"
                  f"{max(values):10.1f}")
        ratio = statistics.median(speeds["fptq"][phase]) / statistics.median(
            speeds["llama.cpp"][phase])
        print(f"{phase:10}fptq / llama.cpp = {ratio:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(speeds, indent=2) + "\n")


if __name__ == "__main__":
    main()
