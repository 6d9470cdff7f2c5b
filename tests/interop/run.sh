#!/usr/bin/env bash
# Loads fptq's checkpoints with the real transformers and compressed-tensors, in a private Python
# environment under build/. usage: tests/interop/run.sh [check.py's arguments]
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=build/interop/venv
requirements=tests/interop/requirements.txt
if ! cmp -s "$requirements" "$environment/installed.txt"; then
  echo "interop: installing torch, transformers and compressed-tensors into $environment"
  python3 -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$environment/installed.txt"
fi
exec "$environment/bin/python" tests/interop/check.py --fptq build/release/fptq \
  --work build/interop/work "$@"
