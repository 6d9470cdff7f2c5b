"""ONNX Runtime GenAI: 4-bit blocks of 32, activations in 8 bits (accuracy level 4)."""

import common
import openvino_peer


class OnnxRuntime(common.Peer):
    name = "onnxruntime"
    variants = ("int4 block 32",)

    def prepare(self):
        self.python = openvino_peer.huggingface_environment(
            "import onnxruntime_genai, onnx_ir, torch")
        # Its model builder wants a newer transformers than OpenVINO's exporter can use.
        self.newer = common.WORK / "onnxruntime-transformers"
        common.made_once(self.newer, lambda partial: common.run_quietly(
            [self.python, "-m", "pip", "install", "--target", partial, "-r",
             common.HERE / "requirements-onnxruntime.txt"]))

    def version(self):
        return common.run_quietly([self.python, "-c", (
            "import importlib.metadata as m; print(', '.join(f'{p} {m.version(p)}' for p in "
            "('onnxruntime-genai', 'onnxruntime')))")]).strip()

    def make(self, variant, shape):
        path = shape.folder() / f"onnxruntime-{variant.replace(' ', '-')}"
        common.made_once(path, lambda partial: common.run_quietly(
            [self.python, "-m", "onnxruntime_genai.models.builder", "-i", shape.checkpoint(), "-o",
             partial, "-p", "int4", "-e", "cpu", "-c", common.WORK / "onnxruntime-cache",
             "--extra_options", "accuracy_level=4", "block_size=32", "hf_token=false"],
            {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(self.newer)}))
        return common.Model(variant, path, common.tree_bytes(path, (".onnx", ".onnx.data")))

    def measure(self, model, task):
        return common.run_json(
            [self.python, common.INSIDE / "onnxruntime_speed.py", model.path, task.prompt,
             task.decode, task.batch, task.threads])
