"""What each step of calibrated rounding buys: quantizes a model with steps switched on one after the
other, then with single steps switched off, and prints a Markdown table of divergences.

usage: run.py --fptq PROGRAM --model MODEL --calib TEXT --text TEXT [--weights w4g32] [--symmetric]
              [--seqlen 512] [--samples 128] [--ctx 512] [--windows 64] [--rows NAME,NAME,...]

Every row is `fptq quantize` with a recipe and `fptq eval --kl MODEL`: KL(original || quantized) of the
next token in nats, mean and standard error over the positions of the windows of TEXT, with 8-bit
activations in integer arithmetic and with float activations. Embedding and classifier are kept, so
that the numbers speak of the decoder's linears. TEXT must not be the calibration text.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

PLAIN = {"rounding": "gptq", "damping": 0.01, "grids": "range", "alternations": 0, "correction": 0,
         "residual_correction": 0, "refit": "false", "descent_passes": 0}


def steps():
    """Name -> settings that differ from the recipe fptq."""
    rows = {"round to nearest": {"rounding": "rtn"},
            "searched grids, no feedback of errors": {"rounding": "search"}}
    settings = dict(PLAIN)
    rows["GPTQ, act-order, static groups, damping 0.01"] = dict(settings)
    for name, change in [
            ("+ searched grids, importance H_kk", {"grids": "diagonal"}),
            ("+ correction for quantized inputs", {"correction": 1}),
            ("+ correction of the residual stream", {"residual_correction": 1}),
            ("+ refit of the scales", {"refit": "true"}),
            ("+ importance 1 / U_kk^2", {"grids": "factor"}),
            ("+ two alternations", {"alternations": 2}),
            ("+ damping 0.1", {"damping": 0.1}),
            ("+ two passes of descent: the recipe fptq", {"descent_passes": 2})]:
        settings.update(change)
        rows[name] = dict(settings)
    rows["fptq + as many samples of the model"] = {"self_samples": "SAMPLES"}
    for name, change in [("fptq, no correction of the residual stream", {"residual_correction": 0}),
                         ("fptq, no correction at all", {"correction": 0, "residual_correction": 0}),
                         ("fptq, importance H_kk", {"grids": "diagonal"}),
                         ("fptq, no alternation", {"alternations": 0}),
                         ("fptq, damping 0.03", {"damping": 0.03}),
                         ("fptq, damping 0.01", {"damping": 0.01}),
                         ("fptq, no act-order", {"act_order": "false"})]:
        rows[name] = change
    return rows


class Bench:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fptq_accuracy_"))

    def fptq(self, *arguments):
        result = subprocess.run([self.options.fptq, *map(str, arguments)], capture_output=True,
                                text=True)
        if result.returncode != 0:
            sys.exit(f"fptq {' '.join(map(str, arguments))}: {result.stderr.strip()}")
        return result.stdout

    def recipe(self, settings):
        """A recipe file: the built-in one with these settings."""
        flags = ["--symmetric"] if self.options.symmetric else []
        text = self.fptq("quantize", "--recipe", "fptq", "--weights", self.options.weights, *flags,
                         "--embed", "keep", "--head", "keep", "--calib", self.options.calib,
                         "--samples", self.options.samples, "--seqlen", self.options.seqlen,
                         "--print-recipe")
        lines = []
        for line in text.splitlines():
            key = line.split(":")[0]
            value = settings.get(key)
            if value == "SAMPLES":
                value = self.options.samples
            lines.append(line if value is None else f"{key}: {value}")
        path = self.folder / "recipe.yaml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def divergence(self, output, *flags):
        report = json.loads(self.fptq(
            "eval", output, "--kl", self.options.model, "--kl-text", self.options.text, "--ctx",
            self.options.ctx, "--windows", self.options.windows, "--json", "-", "--quiet", *flags))
        return report["kl"]

    def row(self, name, settings):
        output = self.folder / "out"
        began = time.monotonic()
        report = json.loads(self.fptq("quantize", self.options.model, "-o", output, "--overwrite",
                                      "--recipe", self.recipe(settings), "--json", "-", "--quiet"))
        seconds = time.monotonic() - began
        integer = self.divergence(output)
        floating = self.divergence(output, "--activations", "a16")
        cells = [f"{kl['mean']:.4f} ± {kl['stderr']:.4f}" for kl in (floating, integer)]
        print(f"| {name} | {report['linear_bits_per_weight']:.2f} | {cells[0]} | {cells[1]} | "
              f"{100 * integer['top1_agreement']:.1f} % | {seconds:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("fptq", "model", "calib", "text"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--weights", default="w4g32")
    parser.add_argument("--symmetric", action="store_true")
    for name, default in (("seqlen", 512), ("samples", 128), ("ctx", 512), ("windows", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--rows", help="only rows whose names contain one of these, by commas")
    options = parser.parse_args()
    wanted = options.rows.split(",") if options.rows else [""]
    bench = Bench(options)
    print("| step | bits | KL, float activations | KL, 8-bit activations | same top token | seconds |")
    print("|---|---|---|---|---|---|")
    for name, settings in steps().items():
        if any(part in name for part in wanted):
            bench.row(name, settings)


if __name__ == "__main__":
    main()
