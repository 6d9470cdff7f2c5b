"""llama.cpp, by way of the package llama-cpp-python built from source for this machine."""

import common


class LlamaCpp(common.Peer):
    name = "llama.cpp"
    variants = ("Q4_0", "Q4_K_M", "BF16")

    def prepare(self):
        # From source, since only then GGML_NATIVE lets it use every instruction of this processor.
        # The image library is left out: it is a fifth of the build. No cache, since the wheel that
        # pip keeps of an earlier build may have been made with other flags.
        self.python = common.environment(
            "llama_cpp", common.HERE / "requirements-llama-cpp.txt", "import llama_cpp",
            ["--verbose", "--no-cache-dir", "--no-binary", "llama-cpp-python"],
            {"CMAKE_ARGS": "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF "
                           f"-DCMAKE_CXX_FLAGS=-include{common.INSIDE / 'whole_tile_config.h'}",
             "CMAKE_BUILD_PARALLEL_LEVEL": "2"})

    def version(self):
        return "llama-cpp-python " + common.run_quietly(
            [self.python, "-c", "import llama_cpp; print(llama_cpp.__version__)"]).strip()

    def make(self, variant, shape):
        path = shape.gguf()
        if variant != "BF16":
            source, path = path, shape.folder() / f"llama.cpp-{variant}.gguf"
            common.made_once(path, lambda partial: common.run_quietly(
                [self.python, common.INSIDE / "llama_cpp_quantize.py", source, partial, variant]))
        return common.Model(variant, path, path.stat().st_size)

    def measure(self, model, task):
        return common.run_json(
            [self.python, common.INSIDE / "llama_cpp_speed.py", model.path, task.prompt,
             task.decode, task.batch, task.threads])
