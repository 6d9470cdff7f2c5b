"""What every peer has in common: the interface, private environments, shapes and checkpoints."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import venv

HERE = pathlib.Path(__file__).resolve().parent
WORK = HERE.parent.parent / "build" / "peers"
INSIDE = HERE / "inside"

# As config.json has them. The rotary embedding is left unscaled: it costs nothing either way, and
# not every writer of model files knows how to store the scaling.
SHAPES = {
    "smollm2-135m": {
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64, "vocab_size": 49152,
        "rope_theta": 100000.0, "tie_word_embeddings": True},
    "llama-3.2-1b": {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "vocab_size": 128256,
        "rope_theta": 500000.0, "tie_word_embeddings": True},
    "llama-3.1-8b": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256,
        "rope_theta": 500000.0, "tie_word_embeddings": False},
}


class Unavailable(Exception):
    """Why a peer, or one of its models, cannot take part. The text is shown in the table."""


@dataclasses.dataclass
class Task:
    """What one run does: a prompt of `prompt` tokens, then `decode` tokens one at a time."""
    prompt: int
    decode: int
    batch: int  # sequences that decode together in a further measurement; 1: none
    threads: int


@dataclasses.dataclass
class Model:
    """One model file of a peer. `bytes` counts what has to be in memory to run it."""
    variant: str
    path: pathlib.Path
    bytes: int


class Peer:
    """A program to compare with. prepare() comes first, then make() for each variant, then
    measure() many times. Each may raise Unavailable."""

    name = ""
    # Names of models that the program can make of one checkpoint: its own words for its formats.
    variants = ()

    def __init__(self, options):
        self.options = options

    def prepare(self):
        """Builds or installs the program in WORK, where that has not been done yet."""

    def version(self):
        raise NotImplementedError

    def make(self, variant, shape):
        """The Model of that variant, made where it is missing."""
        raise NotImplementedError

    def measure(self, model, task):
        """Tokens per second: {"prefill": x, "decode": x, "decode_batch": x or None,
        "notes": [what the program says of the instructions and formats it uses]}."""
        raise NotImplementedError


class Shape:
    """The dimensions of a model, and a checkpoint with random weights that has them."""

    def __init__(self, name_or_file):
        if name_or_file in SHAPES:
            self.name = name_or_file
            given = SHAPES[name_or_file]
        else:
            path = pathlib.Path(name_or_file)
            if not path.is_file():
                raise SystemExit(f"--shape: expected {', '.join(SHAPES)} or the path of a "
                                 f"config.json, got {name_or_file}")
            self.name = path.resolve().parent.name + "-" + path.stem
            given = json.loads(path.read_text())
        heads = given["num_attention_heads"]
        self.config = {
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0,
            "initializer_range": 0.02, "use_cache": True, "torch_dtype": "bfloat16",
            "bos_token_id": 1, "eos_token_id": 2,
            "rms_norm_eps": given.get("rms_norm_eps", 1e-5),
            "max_position_embeddings": given.get("max_position_embeddings", 4096),
            "rope_theta": given.get("rope_theta", 10000.0),
            "num_key_value_heads": given.get("num_key_value_heads", heads),
            "head_dim": given.get("head_dim") or given["hidden_size"] // heads,
            "tie_word_embeddings": given.get("tie_word_embeddings", False),
            **{key: given[key] for key in ("hidden_size", "intermediate_size", "vocab_size",
                                           "num_hidden_layers", "num_attention_heads")},
        }

    def parameters(self):
        """Weights of all matrices; the norms, a ten-thousandth of that, are left out."""
        c = self.config
        q_width = c["num_attention_heads"] * c["head_dim"]
        kv_width = c["num_key_value_heads"] * c["head_dim"]
        block = c["hidden_size"] * (2 * q_width + 2 * kv_width + 3 * c["intermediate_size"])
        ends = c["vocab_size"] * c["hidden_size"] * (1 if c["tie_word_embeddings"] else 2)
        return c["num_hidden_layers"] * block + ends

    def folder(self):
        return WORK / "models" / self.name

    def config_file(self):
        path = self.folder() / "config.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self.config, indent=2) + "\n")
        return path

    def checkpoint(self):
        """A folder with model.safetensors in bfloat16, config.json and a tokenizer of 3 words."""
        folder = self.folder() / "checkpoint"
        made_once(folder, lambda partial: run_quietly(
            [tools_python(), INSIDE / "make_checkpoint.py", self.config_file(), partial]))
        return folder

    def gguf(self):
        """The checkpoint as a GGUF file whose matrices are bfloat16."""
        path = self.folder() / "bf16.gguf"
        made_once(path, lambda partial: run_quietly(
            [tools_python(), INSIDE / "make_gguf.py", self.checkpoint(), partial]))
        return path


def made_once(path, make):
    """make(partial path) and then a rename, so that what was interrupted is not taken for whole."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    if partial.is_dir():
        shutil.rmtree(partial)
    partial.unlink(missing_ok=True)
    say(f"making {path.relative_to(WORK)}")
    make(partial)
    partial.rename(path)


def say(text):
    print(text, file=sys.stderr, flush=True)


def environment(name, requirements, check, pip_arguments=(), variables=None):
    """The interpreter of a private environment in which `check` can be imported.

    What pip prints goes to WORK/NAME.log; Unavailable names its last error.
    """
    folder = WORK / name
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if subprocess.run([python, "-c", check], capture_output=True).returncode == 0:
        return python
    log = WORK / (name + ".log")
    say(f"installing {requirements.name}: this takes minutes; see {log}")
    start = time.monotonic()
    with log.open("w") as output:
        done = subprocess.run([python, "-m", "pip", "install", *pip_arguments, "-r", requirements],
                              stdout=output, stderr=subprocess.STDOUT,
                              env={**os.environ, **(variables or {})})
    if done.returncode != 0:
        raise Unavailable(f"could not be installed: {last_error(log.read_text())} (see {log})")
    say(f"installed {requirements.name} in {time.monotonic() - start:.0f} s")
    return python


def tools_python():
    """An interpreter with numpy and gguf, for what only writes files."""
    return environment("tools", HERE / "requirements-tools.txt", "import numpy, gguf")


def last_error(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no output"])[-1][:300]


def run_quietly(command, variables=None):
    """stdout of the command; Unavailable with its last error where it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                          env={**os.environ, **(variables or {})})
    if done.returncode != 0:
        name = pathlib.Path(command[1] if "python" in str(command[0]) else command[0]).name
        raise Unavailable(f"{name}: exit {done.returncode}: {last_error(done.stderr)}")
    return done.stdout


def run_json(command, variables=None):
    """The object in the last line of stdout that begins one."""
    output = run_quietly(command, variables)
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise Unavailable(f"{pathlib.Path(str(command[1])).name}: printed no result")


def tree_bytes(path, suffixes):
    """Bytes of the files below path whose names end like that."""
    files = [path] if path.is_file() else list(path.rglob("*"))
    return sum(f.stat().st_size for f in files if f.name.endswith(suffixes))
