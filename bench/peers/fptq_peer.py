"""fptq itself, with random weights that it makes up in memory."""

import json
import pathlib
import subprocess

import common


class Fptq(common.Peer):
    name = "fptq"

    def __init__(self, options):
        super().__init__(options)
        self.variants = tuple(options.weights.split(","))

    def prepare(self):
        self.program = pathlib.Path(self.options.fptq).resolve()
        if not self.program.exists():
            raise SystemExit(f"--fptq: {self.program} does not exist")

    def version(self):
        return common.run_quietly([self.program, "--version"]).strip()

    def make(self, variant, shape):
        # No file: measure() fills in the bytes from the first result.
        return common.Model(variant, shape.config_file(), 0)

    def measure(self, model, task):
        command = [self.program, "bench", "--shape", model.path, "--weights", model.variant, "-p",
                   task.prompt, "-n", task.decode, "-b", f"1,{task.batch}" if task.batch > 1 else 1,
                   "-r", 1, "--threads", task.threads, "--kv", self.options.kv, "--json", "-"]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode != 0:
            raise common.Unavailable("fptq: " + common.last_error(done.stderr))
        result = json.loads(done.stdout)
        by_batch = {row["batch"]: row for row in result["decode"]}
        model.bytes = weight_bytes(by_batch[1], task, json.loads(model.path.read_text()),
                                   self.options.kv)
        kernels = sorted({f"{entry['scheme']} by {entry['kernel']} on {entry['isa']}"
                          for entry in result["receipt"]})
        return {"prefill": result["prefill"][0]["tok_s_median"],
                "decode": by_batch[1]["tok_s_median"],
                "decode_batch": by_batch[task.batch]["tok_s_median"] if task.batch > 1 else None,
                "notes": kernels}


def weight_bytes(row, task, c, kv):
    """Of gb_s: what a step reads, less the caches, and with the embedding where it is separate."""
    position = (2 * c["num_hidden_layers"] * c["num_key_value_heads"] * c["head_dim"] *
                {"f32": 4, "bf16": 2, "int8": 1}[kv])
    read = row["gb_s"] * 1e9 / row["tok_s_median"] - position * (task.decode + 1) / 2
    separate = 0 if c["tie_word_embeddings"] else c["vocab_size"] * c["hidden_size"]
    return round(read + separate)
