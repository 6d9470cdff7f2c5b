#!/usr/bin/env python3
"""Holds `fptq eval --task` against the real lm-evaluation-harness, document by document, and times both.

    against_lm_eval.py --fptq build/release/fptq --model DIR --data DIR [--limit 100] [--shots 0]
                       [--batch-size 1] [--threads 2] [--context N] TASK...

Needs Python with lm-eval 0.4.13, torch, transformers and datasets. DIR of --data is laid out as the tasks' own sources
are: arc/ARC-Easy-Test.jsonl, hellaswag/hellaswag_val_lmeval.jsonl, piqa/valid.jsonl, lambada/lambada_test.jsonl,
samples/*.head20.jsonl, samples/mmlu_*_test.csv with mmlu/dev. The harness runs its installed task definitions on
those files; the model runs in float32 on both sides. Prints, for each task, the largest difference of a
log-likelihood, whether every decision is the same, both times, and their ratio; exits 1 where scores differ.
"""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

FILES = {
    "arc_easy": "arc/ARC-Easy-Test.jsonl",
    "hellaswag": "hellaswag/hellaswag_val_lmeval.jsonl",
    "piqa": "piqa/valid.jsonl",
    "lambada_openai": "lambada/lambada_test.jsonl",
    "arc_challenge": "samples/arc_challenge.head20.jsonl",
    "winogrande": "samples/winogrande.head20.jsonl",
    "boolq": "samples/boolq.head20.jsonl",
    "openbookqa": "samples/openbookqa.head20.jsonl",
    "mmlu_abstract_algebra": "samples/mmlu_abstract_algebra_test.csv",
}
TOLERANCE = 2e-3  # nats: the harness takes a float32 log-softmax and sums in float32


def json_lines(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def flat_arc(document, stem="question"):
    question = document["question"]
    choices = question["choices"]
    return {stem: question["stem"], "answerKey": document["answerKey"],
            "choices": {"text": [c["text"] for c in choices], "label": [c["label"] for c in choices]}}


def mmlu_rows(path):
    with open(path, encoding="utf-8", newline="") as rows:
        return [{"question": row["question"], "answer": int(row["answer"]),
                 "choices": [row[f"choice{i}"] for i in range(4)]} for row in csv.DictReader(rows)]


def harness_documents(task, data):
    """The documents in the form that the hub's data set has, and the examples, where they are others."""
    path = data / FILES[task]
    if task.startswith("mmlu_"):
        return mmlu_rows(path), mmlu_rows(data / "mmlu/dev" / f"{task[5:]}_dev.csv")
    documents = json_lines(path)
    if task.startswith("arc_"):
        documents = [flat_arc(d) for d in documents]
    elif task == "openbookqa":
        documents = [flat_arc(d, "question_stem") for d in documents]
    elif task == "piqa":
        labels = path.with_name("valid-labels.lst").read_text().split()
        documents = [{**d, "label": int(label)} for d, label in zip(documents, labels)]
    elif task == "hellaswag":
        documents = [{"query": d["query"], "choices": d["choices"], "label": d["gold"]} for d in documents]
    elif task == "boolq":
        documents = [{**d, "label": int(d["label"])} for d in documents]
    return documents, None


def harness_definition(task, data, folder):
    """The installed definition with local data, as a dictionary that the harness takes."""
    from lm_eval.tasks import TaskManager
    from lm_eval.tasks._yaml_loader import load_yaml
    config = load_yaml(TaskManager().task_index[task].yaml_path)
    documents, examples = harness_documents(task, data)
    split = "test" if config.get("test_split") else "validation"
    files = {split: folder / f"{task}.{split}.jsonl"}
    files[split].write_text("".join(json.dumps(d) + "\n" for d in documents))
    if examples:
        files["dev"] = folder / f"{task}.dev.jsonl"
        files["dev"].write_text("".join(json.dumps(d) + "\n" for d in examples))
    for key in ("include", "tag", "group", "dataset_name", "task_alias", "training_split", "dataset_kwargs"):
        config.pop(key, None)
    if task == "hellaswag":
        config.pop("process_docs", None)
    if split == "test":
        config.pop("validation_split", None)
    if not examples:
        # Only with this does the harness keep the document that is asked out of its own examples.
        config["fewshot_split"] = config.get("test_split")
    config.update(task="local_" + task, dataset_path="json",
                  dataset_kwargs={"data_files": {name: str(path) for name, path in files.items()}})
    return config


def run_harness(options, task, model, folder):
    import lm_eval
    definition = harness_definition(task, options.data, folder)
    start = time.monotonic()
    outcome = lm_eval.simple_evaluate(model=model, tasks=[definition], limit=options.limit or None,
                                      num_fewshot=options.shots or None, bootstrap_iters=0, log_samples=True,
                                      verbosity="ERROR")
    elapsed = time.monotonic() - start
    samples = sorted(outcome["samples"]["local_" + task], key=lambda s: s["doc_id"])
    documents = []
    for sample in samples:
        pairs = [r[0] if isinstance(r[0], (list, tuple)) else r for r in sample["resps"]]
        documents.append({"ll": [float(p[0]) for p in pairs], "greedy": [str(p[1]) == "True" for p in pairs],
                          "acc": float(sample["acc"]), "acc_norm": sample.get("acc_norm")})
    return documents, elapsed


def run_fptq(options, task, folder):
    samples = folder / f"{task}.samples.jsonl"
    command = [options.fptq, "eval", options.model, "--task", f"{task}={options.data / FILES[task]}",
               "--samples-out", samples, "--threads", options.threads, "--quiet", "--json", folder / "eval.json"]
    if options.shots:
        command += ["--shots", options.shots]
        if task.startswith("mmlu_"):
            command += ["--shots-from", f"{task}={options.data / 'mmlu/dev' / (task[5:] + '_dev.csv')}"]
    if options.limit:
        command += ["--limit", options.limit]
    if options.context:
        command += ["--ctx", options.context]
    start = time.monotonic()
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
    return json_lines(samples), time.monotonic() - start


def compare(task, ours, theirs):
    """The largest difference in nats, and the documents whose decision differs."""
    if len(ours) != len(theirs):
        sys.exit(f"{task}: {len(ours)} documents of fptq, {len(theirs)} of the harness")
    worst, other = 0.0, []
    for index, (a, b) in enumerate(zip(ours, theirs)):
        worst = max([worst] + [abs(x - y) for x, y in zip(a["ll"], b["ll"])])
        same = a["acc"] == b["acc"] and a["greedy"] == b["greedy"]
        if b["acc_norm"] is not None and "acc_norm" in a:
            same = same and a["acc_norm"] == b["acc_norm"]
        if not same:
            other.append(index)
    return worst, other


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fptq", type=pathlib.Path, required=True)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--shots", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("tasks", nargs="*", metavar="TASK", default=list(FILES))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_CACHE=str(folder / "cache"), TOKENIZERS_PARALLELISM="false")
        import torch
        import transformers
        from lm_eval.models.huggingface import HFLM
        torch.set_num_threads(options.threads)
        # tokenizer.json as it is: AutoTokenizer rebuilds that of Llama 2, and then tokenizes differently.
        special = {}
        config = json.loads((options.model / "tokenizer_config.json").read_text())
        for key in ("bos_token", "eos_token"):
            value = config.get(key)
            special[key] = value["content"] if isinstance(value, dict) else value
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(options.model / "tokenizer.json"), **special)
        loaded = transformers.AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
        extra = {"max_length": options.context} if options.context else {}
        model = HFLM(pretrained=loaded, tokenizer=tokenizer, backend="causal", batch_size=options.batch_size, **extra)
        failed = False
        print(f"{'task':<24}{'documents':>10}{'max |dll|':>12}{'decisions':>12}{'harness':>10}{'fptq':>9}{'ratio':>8}")
        for task in options.tasks:
            ours, our_time = run_fptq(options, task, folder)
            theirs, their_time = run_harness(options, task, model, folder)
            worst, other = compare(task, ours, theirs)
            failed = failed or worst > TOLERANCE or bool(other)
            print(f"{task:<24}{len(ours):>10}{worst:>12.1e}{'same' if not other else f'{len(other)} differ':>12}"
                  f"{their_time:>9.1f}s{our_time:>8.1f}s{their_time / our_time:>8.2f}", flush=True)
            if other:
                print("  documents", other[:20])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
