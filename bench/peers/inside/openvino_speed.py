"""usage: openvino_speed.py FOLDER PROMPT DECODE BATCH THREADS [INFERENCE_PRECISION_HINT]

One line of JSON with tokens per second of openvino_genai.LLMPipeline with its defaults, except for
the threads and, where given, the precision of activations. Only the model's own time counts (token_infer_durations), not the choice of tokens.
"""

import collections
import json
import os
import sys

import numpy as np
import openvino
import openvino_genai

os.environ["HF_HUB_OFFLINE"] = "1"


RANDOM = np.random.default_rng(0)


def token_ids(sequences, count, vocabulary):
    """New ones for each call: the program keeps the caches of prompts that it has seen."""
    return openvino.Tensor(RANDOM.integers(3, vocabulary, (sequences, count), np.int64))


def kernels_of_matrices(folder, vocabulary, properties, lengths):
    """The kernels that the CPU plugin ran for matrices, by the names that it gives them."""
    compiled = openvino.Core().compile_model(folder + "/openvino_model.xml", "CPU",
                                             {**properties, "PERF_COUNT": True})
    notes = []
    for length in lengths:
        request = compiled.create_infer_request()
        request.infer({"input_ids": token_ids(1, length, vocabulary),
                       "attention_mask": np.ones((1, length), np.int64),
                       "position_ids": np.arange(length, dtype=np.int64)[None],
                       "beam_idx": np.zeros(1, np.int32)})
        counts = collections.Counter(
            f"{info.node_type} by {info.exec_type}" for info in request.profiling_info
            if info.status == openvino.ProfilingInfo.Status.EXECUTED and
            info.node_type.startswith(("FullyConnected", "MatMul", "LLMMLP", "QKVProjection")))
        notes += [f"{length} tokens: {name} ({count} times)" for name, count in counts.items()]
    return notes + [f"{key} = {compiled.get_property(key)}" for key in (
        "DYNAMIC_QUANTIZATION_GROUP_SIZE", "KV_CACHE_PRECISION")]


def main():
    folder, (prompt, decode, batch, threads) = sys.argv[1], map(int, sys.argv[2:6])
    with open(folder + "/config.json") as file:
        vocabulary = json.load(file)["vocab_size"]
    properties = {"INFERENCE_NUM_THREADS": threads}
    if len(sys.argv) > 6:
        properties["INFERENCE_PRECISION_HINT"] = sys.argv[6]
    notes = kernels_of_matrices(folder, vocabulary, properties, (min(prompt, 64), 1))
    tokenizer = openvino_genai.Tokenizer(folder)
    pipe = openvino_genai.LLMPipeline(folder, tokenizer, "CPU", **properties)

    def seconds(sequences, count, steps):
        """Of each inference: the prompt, then `steps` single tokens."""
        config = openvino_genai.GenerationConfig(max_new_tokens=steps + 1, ignore_eos=True,
                                                 do_sample=False)
        result = pipe.generate(token_ids(sequences, count, vocabulary), config)
        times = [t * 1e-6 for t in result.perf_metrics.raw_metrics.token_infer_durations]
        if len(times) != steps + 1:
            raise SystemExit(f"expected {steps + 1} inferences, got {len(times)}")
        return times

    seconds(1, prompt, 4)  # not timed: the first calls allocate
    prefill = prompt / seconds(1, prompt, 0)[0]
    decoded = decode / sum(seconds(1, 1, decode)[1:])
    together = None
    if batch > 1:
        seconds(batch, 1, 2)
        together = batch * decode / sum(seconds(batch, 1, decode)[1:])
    print(json.dumps({"prefill": prefill, "decode": decoded, "decode_batch": together,
                      "notes": notes}))


if __name__ == "__main__":
    main()
