"""OpenVINO GenAI: 4-bit weights, 8-bit activations quantized in groups as the program runs."""

import common


def huggingface_environment(check):
    """OpenVINO's and ONNX Runtime's exporters need the same large packages: one environment."""
    return common.environment("huggingface", common.HERE / "requirements-huggingface.txt", check)


class OpenVino(common.Peer):
    name = "openvino"
    # Without a hint the program takes bfloat16 for activations where the processor has it.
    variants = ("int4 asym g128", "int4 sym g128", "int4 asym g128 f32", "int4 sym g128 f32")

    def prepare(self):
        self.python = huggingface_environment("import openvino_genai, optimum.intel, nncf")

    def version(self):
        return common.run_quietly([self.python, "-c", (
            "import importlib.metadata as m; print(', '.join(f'{p} {m.version(p)}' for p in "
            "('openvino-genai', 'openvino', 'nncf', 'optimum-intel')))")]).strip()

    def make(self, variant, shape):
        symmetry = variant.split()[1]
        path = shape.folder() / f"openvino-int4-{symmetry}"
        common.made_once(path, lambda partial: common.run_quietly(
            [self.python, common.INSIDE / "make_openvino.py", shape.checkpoint(), partial,
             symmetry]))
        return common.Model(variant, path, common.tree_bytes(path, ("openvino_model.bin",)))

    def measure(self, model, task):
        return common.run_json(
            [self.python, common.INSIDE / "openvino_speed.py", model.path, task.prompt,
             task.decode, task.batch, task.threads] +
            (["f32"] if model.variant.endswith(" f32") else []))
