"""usage: onnxruntime_speed.py FOLDER PROMPT DECODE BATCH THREADS

One line of JSON with tokens per second of onnxruntime_genai's Generator with its defaults, except
for the threads and the length.
"""

import json
import sys
import time

import numpy as np
import onnxruntime_genai as og


def token_ids(sequences, count, vocabulary):
    ids = (np.arange(sequences * count, dtype=np.int64) * 7919 + 13) % vocabulary
    return ids.astype(np.int32).reshape(sequences, count)


def main():
    folder, (prompt, decode, batch, threads) = sys.argv[1], map(int, sys.argv[2:6])
    with open(folder + "/genai_config.json") as file:
        vocabulary = json.load(file)["model"]["vocab_size"]
    config = og.Config(folder)
    config.overlay(json.dumps({"model": {"decoder": {"session_options": {
        "intra_op_num_threads": threads, "inter_op_num_threads": 1}}}}))
    model = og.Model(config)

    def seconds(sequences, count, steps):
        """(of the prompt, of `steps` single tokens after it)"""
        length = count + steps + 2
        params = og.GeneratorParams(model)
        # No end before the length: random weights could choose any token.
        params.set_search_options(batch_size=sequences, max_length=length, min_length=length,
                                  do_sample=False)
        generator = og.Generator(model, params)
        start = time.perf_counter()
        generator.append_tokens(token_ids(sequences, count, vocabulary))
        generator.generate_next_token()
        middle = time.perf_counter()
        for _ in range(steps):
            generator.generate_next_token()
        return middle - start, time.perf_counter() - middle

    seconds(1, prompt, 4)  # not timed: the first calls allocate
    prefill = prompt / seconds(1, prompt, 0)[0]
    decoded = decode / seconds(1, 1, decode)[1]
    together = None
    if batch > 1:
        seconds(batch, 1, 2)
        together = batch * decode / seconds(batch, 1, decode)[1]
    print(json.dumps({"prefill": prefill, "decode": decoded, "decode_batch": together, "notes": [
        "its kernels choose instructions at run time and do not say which"]}))


if __name__ == "__main__":
    main()
