#!/usr/bin/env bash
# Loads fptq's checkpoints with the real transformers, compressed-tensors and bitsandbytes, in a
# private Python environment under build/, or with the Python that FPTQ_INTEROP_PYTHON names, which has them.
# usage: tests/interop/run.sh [check.py's arguments]
set -euo pipefail
cd "$(dirname "$0")/../.."

environment=build/interop/venv
python=${FPTQ_INTEROP_PYTHON:-$environment/bin/python}
requirements=tests/interop/requirements.txt
if [[ -z ${FPTQ_INTEROP_PYTHON:-} ]] && ! cmp -s "$requirements" "$environment/installed.txt"; then
  echo "interop: installing torch, transformers, compressed-tensors and bitsandbytes into $environment"
  python3 -m venv --clear "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$environment/installed.txt"
fi
exec "$python" tests/interop/check.py --fptq build/release/fptq \
  --work build/interop/work "$@"
