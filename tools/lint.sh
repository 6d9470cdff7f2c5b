#!/usr/bin/env bash
# Every static check of the repository. Through ./dev lint, which configures the clang preset.
#
# usage: tools/lint.sh [FILE...]     clang-tidy looks at these sources (default: all)

set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

status=0
step() {  # step NAME COMMAND...
  local name=$1
  shift
  if "$@"; then echo "lint: $name: ok"; else echo "lint: $name: FAILED"; status=1; fi
}

sources() { git ls-files --cached --others --exclude-standard 'src/*' 'tests/*' 'fuzz/*' |
  grep -E "$1"; }

long_files() {  # no file above 800 lines
  local found
  found=$(git ls-files -z --cached --others --exclude-standard |
    grep -zvE '(LICENSE|\.lock)$' | xargs -0 wc -l | awk '$1 > 800 && $2 != "total"')
  [[ -z $found ]] || { echo "$found"; return 1; }
}

format() { sources '\.(h|cpp|inc)$' | xargs -r clang-format --dry-run -Werror; }

# The Arm kernels are not in the x86 build that compile_commands.json describes.
tidy() {
  local files=("$@")
  tidy_database || return
  [[ ${#files[@]} -gt 0 ]] ||
    mapfile -t files < <(sources '\.cpp$' | grep -F -x -f build/clang-tidy/files.txt)
  printf '%s\0' "${files[@]}" |
    xargs -0 -r -n 1 -P "$(nproc)" clang-tidy --quiet -p build/clang-tidy \
      2> >(grep -vE '^[0-9]+ warnings? generated' >&2)
}

# clang-tidy looks at a file once per command that compiles it, and fuzz targets compile some modules
# again: keep the first command of each file.
tidy_database() {
  mkdir -p build/clang-tidy
  python3 - << 'PYTHON'
import json, os
first = {}
for entry in json.load(open("build/clang/compile_commands.json")):
    first.setdefault(os.path.relpath(entry["file"]), entry)
json.dump(list(first.values()), open("build/clang-tidy/compile_commands.json", "w"))
open("build/clang-tidy/files.txt", "w").writelines(name + "\n" for name in first)
PYTHON
}

step "formatting" format
step "layers" python3 tools/check_layers.py src
step "kernel names" python3 tools/check_kernel_names.py src/kernels
step "file lengths" long_files
step "clang-tidy" tidy "$@"
exit $status
