#!/usr/bin/env python3
"""Speed of fptq beside other programs that run quantized Llama models, on one machine in one run.

usage: bench/peers/run.py --fptq build/release/fptq [--shape llama-3.2-1b]
           [--peers llama.cpp,openvino,onnxruntime,ik_llama.cpp] [-p 512] [-n 64] [-r 5] [-t 2]

Everything is built, installed and made in build/peers, where a second call finds it again. All
programs run the same shape with random weights. Runs take turns (A B C A B C ...), each in a
process of its own, so that a machine that becomes slower or faster does so for all of them.
README.md says what is compared, and what is not the same arithmetic.
"""

import argparse
import json
import os
import pathlib
import statistics
import sys
import time

import common
import fptq_peer
import ik_llama_peer
import llama_cpp_peer
import onnxruntime_peer
import openvino_peer

PEERS = {peer.name: peer for peer in (llama_cpp_peer.LlamaCpp, openvino_peer.OpenVino,
                                      onnxruntime_peer.OnnxRuntime, ik_llama_peer.IkLlama)}
PHASES = ("prefill", "decode", "decode_batch")


class Row:
    """One program with one model, and what was measured of it."""

    def __init__(self, peer, model):
        self.peer, self.model = peer, model
        self.speeds = {phase: [] for phase in PHASES}
        self.notes = []

    def add(self, measured):
        for phase in PHASES:
            if measured.get(phase) is not None:
                self.speeds[phase].append(measured[phase])
        self.notes = measured.get("notes", [])

    def median(self, phase):
        return statistics.median(self.speeds[phase]) if self.speeds[phase] else None


def processor():
    """Model name and the vector and matrix instructions of the first processor."""
    name, flags = "unknown processor", ""
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
            elif line.startswith(("flags", "Features")):
                flags = line.split(":", 1)[1]
                break
    except OSError:
        pass
    interesting = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16",
                   "amx_int8", "amx_bf16", "asimddp", "i8mm", "sve", "sme")
    return name, [flag for flag in interesting if flag in flags.split()]


def candidates(peer, shape, wanted, problems):
    """A Row for each model of the peer that can be made; the others go into problems."""
    start = time.monotonic()
    try:
        peer.prepare()
    except common.Unavailable as reason:
        problems.append((peer.name, "", str(reason)))
        return []
    common.say(f"{peer.name}: ready after {time.monotonic() - start:.0f} s")
    rows = []
    for variant in peer.variants:
        if wanted and peer.name != "fptq" and variant not in wanted:
            continue
        try:
            rows.append(Row(peer, peer.make(variant, shape)))
        except common.Unavailable as reason:
            problems.append((peer.name, variant, str(reason)))
    return rows


def measure(rows, task, repeats, problems):
    """Fills the rows in turn; what fails once is not tried again. Returns the rows that work."""
    failed = set()
    for repeat in range(repeats):
        for row in rows:
            if row in failed:
                continue
            common.say(f"run {repeat + 1} of {repeats}: {row.peer.name} {row.model.variant}")
            try:
                row.add(row.peer.measure(row.model, task))
            except common.Unavailable as reason:
                problems.append((row.peer.name, row.model.variant, str(reason)))
                failed.add(row)
    return [row for row in rows if row not in failed]


def ratio_text(ours, theirs):
    return f"{ours / theirs:8.2f}" if ours and theirs else f"{'':8}"


def print_table(rows, shape, task, problems):
    ours = next((row for row in rows if row.peer.name == "fptq"), None)
    others = [row for row in rows if row.peer.name != "fptq"]
    name, flags = processor()
    print(f"{shape.name}, {task.threads} threads of {os.cpu_count()}, {name} ({' '.join(flags)})")
    titles = {"prefill": f"prefill of {task.prompt} tokens",
              "decode": f"decode of {task.decode} tokens",
              "decode_batch": f"decode of {task.decode} tokens, {task.batch} sequences together"}
    for phase in PHASES if task.batch > 1 else PHASES[:2]:
        print(f"\n{titles[phase]}, tokens/s{'':{max(1, 50 - len(titles[phase]))}}fptq /")
        print(f"  {'program':14}{'model':18}{'bits/weight':>11}{'median':>10}{'min':>10}{'max':>10}"
              f"{'this':>8}")
        for row in sorted(rows, key=lambda row: -(row.median(phase) or 0)):
            values = row.speeds[phase]
            bits = 8 * row.model.bytes / shape.parameters()
            line = f"  {row.peer.name:14}{row.model.variant:18}{bits:11.2f}"
            line += (f"{row.median(phase):10.1f}{min(values):10.1f}{max(values):10.1f}" if values
                     else f"{'not measured':>30}")
            if ours and row is not ours:
                line += ratio_text(ours.median(phase), row.median(phase))
            print(line)
        best = max(others, key=lambda row: row.median(phase) or 0, default=None)
        if ours and best and best.median(phase) and ours.median(phase):
            print(f"  fptq {ours.model.variant} / best other ({best.peer.name} "
                  f"{best.model.variant}) = {ours.median(phase) / best.median(phase):.2f}")
    print("\nversions, and what each program says of the instructions that it uses:")
    for peer in dict.fromkeys(row.peer for row in rows):
        print(f"  {peer.name}: {peer.version()}")
        notes = {}
        for row in rows:
            if row.peer is peer:
                for note in row.notes:
                    notes.setdefault(note, []).append(row.model.variant)
        for note, variants in notes.items():
            everywhere = len(variants) == sum(row.peer is peer for row in rows)
            print(f"    {note}" + ("" if everywhere else f"  [{', '.join(variants)}]"))
    for peer, variant, reason in problems:
        print(f"  NOT MEASURED: {peer} {variant}: {reason}")


def as_json(rows, shape, task, problems):
    name, flags = processor()
    return {
        "shape": shape.name, "config": shape.config, "parameters": shape.parameters(),
        "processor": name, "instructions": flags, "task": vars(task),
        "programs": [{
            "program": row.peer.name, "version": row.peer.version(), "model": row.model.variant,
            "bytes": row.model.bytes, "bits_per_weight": 8 * row.model.bytes / shape.parameters(),
            "tokens_per_second": {k: v for k, v in row.speeds.items() if v}, "notes": row.notes,
        } for row in rows],
        "not_measured": [{"program": peer, "model": variant, "reason": reason}
                         for peer, variant, reason in problems],
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--fptq", required=True, help="the program, built for release")
    parser.add_argument("--shape", default="llama-3.2-1b",
                        help=f"{', '.join(common.SHAPES)} or a config.json")
    parser.add_argument("--peers", default=",".join(PEERS), help="of these: " + ", ".join(PEERS))
    parser.add_argument("--models", default="", help="only these models of the peers: Q4_0,...")
    parser.add_argument("--weights", default="w4g32",
                        help="schemes of fptq; ratios are to the first: w4g32,w4g128")
    parser.add_argument("--kv", default="f32", choices=("f32", "bf16", "int8"),
                        help="fptq's key-value cache; the peers keep their defaults")
    parser.add_argument("--ik-llama", help="folder with the programs of a build of ik_llama.cpp")
    parser.add_argument("-p", "--prompt", type=int, default=512)
    parser.add_argument("-n", "--decode", type=int, default=64)
    parser.add_argument("-b", "--batch", type=int, default=1,
                        help="also measure so many sequences that decode together")
    parser.add_argument("-r", "--repeats", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prepare", action="store_true", help="build and make, measure nothing")
    parser.add_argument("--json", type=pathlib.Path, help="write all figures here")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.peers.split(",") if name and name not in PEERS]
    if unknown:
        parser.error(f"--peers: expected {', '.join(PEERS)}, got {', '.join(unknown)}")
    return arguments


def main():
    arguments = parse_arguments()
    common.WORK.mkdir(parents=True, exist_ok=True)
    shape = common.Shape(arguments.shape)
    task = common.Task(arguments.prompt, arguments.decode, arguments.batch, arguments.threads)
    wanted = [model for model in arguments.models.split(",") if model]
    problems, rows = [], []
    peers = [fptq_peer.Fptq] + [PEERS[name] for name in arguments.peers.split(",") if name]
    for peer in peers:
        rows += candidates(peer(arguments), shape, wanted, problems)
    if not arguments.prepare:
        rows = measure(rows, task, arguments.repeats, problems)
        print_table(rows, shape, task, problems)
        if arguments.json:
            arguments.json.write_text(
                json.dumps(as_json(rows, shape, task, problems), indent=2) + "\n")
    else:
        for peer, variant, reason in problems:
            print(f"NOT AVAILABLE: {peer} {variant}: {reason}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
