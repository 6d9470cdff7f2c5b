#!/usr/bin/env python3
"""Fails if a file under src/ includes a module that its own module may not use.

Usage: check_layers.py SRC   (SRC/LAYERS has one line per module, lowest first:
                              module: module module ...)
Also fails where a folder of SRC has no line in LAYERS, so that a new module has to be placed.
"""
import pathlib
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^/"]+)/', re.MULTILINE)
SUFFIXES = {'.h', '.cpp', '.cu', '.cuh', '.inc'}


def read_layers(path):
    allowed = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split('#')[0].strip()
        if not line:
            continue
        module, _, uses = line.partition(':')
        above = set(uses.split()) - set(allowed)
        if above:
            sys.exit(f'{path}:{number}: {module} uses {sorted(above)}, which are not listed above it')
        allowed[module.strip()] = set(uses.split()) | {module.strip()}
    return allowed


def main(src):
    src = pathlib.Path(src)
    allowed = read_layers(src / 'LAYERS')
    problems = []
    for folder in sorted(p for p in src.iterdir() if p.is_dir()):
        if folder.name not in allowed and any(f.suffix in SUFFIXES for f in folder.rglob('*')):
            problems.append(f'{folder}: no line in {src / "LAYERS"}')
    for path in sorted(p for p in src.rglob('*') if p.suffix in SUFFIXES):
        module = path.relative_to(src).parts[0]
        for target in INCLUDE.findall(path.read_text(errors='replace')):
            if target in allowed and target not in allowed.get(module, set()):
                problems.append(f'{path}: {module} may not include {target}/')
    print('\n'.join(problems) or f'{len(allowed)} modules keep to {src / "LAYERS"}')
    return 1 if problems else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
