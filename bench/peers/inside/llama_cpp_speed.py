"""usage: llama_cpp_speed.py FILE.gguf PROMPT DECODE BATCH THREADS

One line of JSON with tokens per second. The defaults of llama.cpp are kept except for the lengths
and the threads.
"""

import ctypes
import json
import sys
import time

import llama_cpp as lc

LOG = []


@lc.llama_log_callback
def keep_log(_level, text, _data):
    LOG.append(text.decode("utf-8", "replace"))


def token_ids(count, vocabulary):
    return [(i * 7919 + 13) % vocabulary for i in range(count)]


def new_context(model, positions, sequences, batch, threads):
    params = lc.llama_context_default_params()
    params.n_ctx = positions * sequences
    params.n_seq_max = sequences
    params.n_batch = params.n_ubatch = batch
    params.n_threads = params.n_threads_batch = threads
    context = lc.llama_init_from_model(model, params)
    if not context:
        raise SystemExit("llama_init_from_model failed\n" + "".join(LOG[-20:]))
    return context


def one_sequence(model, vocabulary, prompt, decode, threads):
    context = new_context(model, max(prompt, decode) + 8, 1, max(prompt, 1), threads)
    memory = lc.llama_get_memory(context)

    def run(steps, count):
        lc.llama_memory_clear(memory, True)
        ids = (lc.llama_token * count)(*token_ids(count, vocabulary))
        start = time.perf_counter()
        for _ in range(steps):
            if lc.llama_decode(context, lc.llama_batch_get_one(ids, count)) != 0:
                raise SystemExit("llama_decode failed")
            lc.llama_synchronize(context)
        return steps * count / (time.perf_counter() - start)

    run(1, prompt)  # not timed: pages the model in
    prefill = run(1, prompt)
    run(4, 1)
    speeds = prefill, run(decode, 1)
    lc.llama_free(context)
    return speeds


def many_sequences(model, vocabulary, sequences, decode, threads):
    """All sequences take one step in one llama_decode."""
    context = new_context(model, decode + 8, sequences, 64, threads)
    batch = lc.llama_batch_init(sequences, 0, 1)
    batch.n_tokens = sequences
    memory = lc.llama_get_memory(context)

    def run(steps):
        lc.llama_memory_clear(memory, True)
        ids = token_ids(sequences, vocabulary)
        start = time.perf_counter()
        for step in range(steps):
            for s in range(sequences):
                batch.token[s], batch.pos[s] = ids[s], step
                batch.n_seq_id[s], batch.seq_id[s][0], batch.logits[s] = 1, s, 1
            if lc.llama_decode(context, batch) != 0:
                raise SystemExit("llama_decode of several sequences failed")
            lc.llama_synchronize(context)
        return steps * sequences / (time.perf_counter() - start)

    run(4)
    speed = run(decode)
    lc.llama_free(context)
    return speed


def main():
    path, (prompt, decode, batch, threads) = sys.argv[1], map(int, sys.argv[2:6])
    lc.llama_log_set(keep_log, ctypes.c_void_p(0))
    lc.llama_backend_init()
    model = lc.llama_model_load_from_file(path.encode(), lc.llama_model_default_params())
    if not model:
        raise SystemExit("llama_model_load_from_file failed\n" + "".join(LOG[-20:]))
    vocabulary = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))
    prefill, decoded = one_sequence(model, vocabulary, prompt, decode, threads)
    together = many_sequences(model, vocabulary, batch, decode, threads) if batch > 1 else None
    buffers = [line.strip() for line in "".join(LOG).splitlines() if "model buffer size" in line]
    print(json.dumps({
        "prefill": prefill, "decode": decoded, "decode_batch": together,
        "notes": [lc.llama_print_system_info().decode().strip()] +
                 [line.split(":", 1)[-1].strip() for line in buffers]}))


if __name__ == "__main__":
    main()
