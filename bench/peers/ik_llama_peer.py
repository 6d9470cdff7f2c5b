"""ik_llama.cpp: programs that the user has built and names with --ik-llama; not built here."""

import json
import pathlib
import subprocess

import common

REPACKED = " -rtr 1"


class IkLlama(common.Peer):
    name = "ik_llama.cpp"
    variants = tuple(kind + repack for kind in ("Q4_0", "IQ4_KS", "IQ4_XS", "Q4_K_M")
                     for repack in ("", REPACKED))

    def prepare(self):
        if not self.options.ik_llama:
            raise common.Unavailable("no package of it exists: give the folder of a build's "
                                     "programs with --ik-llama")
        self.folder = pathlib.Path(self.options.ik_llama).resolve()
        for program in ("llama-bench", "llama-quantize"):
            if not (self.folder / program).exists():
                raise common.Unavailable(f"{self.folder / program} does not exist")

    def version(self):
        # The commit in llama-bench's results is that of whatever repository the build lies in.
        return "the build given with --ik-llama"

    def make(self, variant, shape):
        kind = variant.removesuffix(REPACKED)
        path = shape.folder() / f"ik_llama.cpp-{kind}.gguf"
        common.made_once(path, lambda partial: common.run_quietly(
            [self.folder / "llama-quantize", shape.gguf(), partial, kind, 2]))
        return common.Model(variant, path, path.stat().st_size)

    def measure(self, model, task):
        repack = model.variant.endswith(REPACKED)
        done = subprocess.run(
            [self.folder / "llama-bench", "-m", model.path, "-p", str(task.prompt), "-n",
             str(task.decode), "-r", "1", "-t", str(task.threads), "-rtr", str(int(repack)),
             "-o", "json"], capture_output=True, text=True)
        if done.returncode != 0:
            raise common.Unavailable("llama-bench: " + common.last_error(done.stderr))
        rows = json.loads(done.stdout[done.stdout.index("["):])
        speeds = {("prefill" if row["n_gen"] == 0 else "decode"): row["avg_ts"] for row in rows}
        together = self.several(model, task, repack) if task.batch > 1 else (None, [])
        return {"prefill": speeds["prefill"], "decode": speeds["decode"],
                "decode_batch": together[0], "notes": together[1]}

    def several(self, model, task, repack):
        """(tokens per second of all sequences, what the program says of its kernels); (None, [])
        where llama-batched-bench was not built."""
        program = self.folder / "llama-batched-bench"
        if not program.exists():
            return None, []
        command = [program, "-m", model.path, "-c", task.batch * (task.decode + 8), "-b", 512,
                   "-ub", 512, "-t", task.threads, "-tb", task.threads, "-npp", 1, "-ntg",
                   task.decode, "-npl", task.batch] + (["-rtr"] if repack else [])
        # The table is on stderr, and a log in the working directory.
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True,
                              cwd=common.WORK)
        for line in (done.stdout + done.stderr).splitlines():
            cells = [cell.strip() for cell in line.strip("| ").split("|")]
            # PP, TG, B, N_KV, T_PP, S_PP, T_TG, S_TG, T, S
            if len(cells) == 10 and cells[2] == str(task.batch):
                said = [line.strip("= ") for line in done.stderr.splitlines()
                        if "HAVE_FANCY_SIMD" in line]
                return float(cells[7]), said
        raise common.Unavailable("llama-batched-bench: " + common.last_error(done.stderr))
