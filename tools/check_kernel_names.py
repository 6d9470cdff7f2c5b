#!/usr/bin/env python3
"""Fails if a kernel's folder, files, macro or entry points do not follow the naming grammar.

Usage: check_kernel_names.py KERNELS   (KERNELS is src/kernels)

    kernel   = [operands "_"] operation          the folder's name: w4a8_gemm, dense_gemm, rms_norm
    operands = weights activations | "dense"     w4a8, w8a8, nf4a16
    entry    = kernel "_" isa ["_" tile]         w4a8_gemm_avx512vnni, w4a8_gemm_avx2_6x16
    macro    = "FPTQ_" KERNEL                    in variants.inc, one line per entry

A kernel is a folder with a contract.h. For each entry there is a file ISA.cpp, for each such file
an entry; the scalar reference is there, and last, because dispatch takes the first that fits.
"""
import pathlib
import re
import sys

ISAS = {'kScalar': 'scalar', 'kAvx2': 'avx2', 'kAvxVnni': 'avxvnni', 'kAvx512Vnni': 'avx512vnni',
        'kAmx': 'amx', 'kNeon': 'neon', 'kI8mm': 'i8mm'}
KERNEL = re.compile(r'((w[2-8]|nf4|fp4)(a8|a16)_|dense_)?[a-z]+(_[a-z]+)*')
LINE = re.compile(r'^(FPTQ_\w+)\(\s*(?:Isa::)?(\w+)\s*,\s*(\w+)\s*\)', re.MULTILINE)


def check(folder):
    kernel = folder.name
    if not KERNEL.fullmatch(kernel):
        yield f'{folder}: expected [operands_]operation, such as w4a8_gemm'
    variants = folder / 'variants.inc'
    if not variants.is_file():
        yield f'{folder}: no variants.inc'
        return
    lines = LINE.findall(variants.read_text())
    for macro, isa, symbol in lines:
        if macro != f'FPTQ_{kernel.upper()}':
            yield f'{variants}: expected FPTQ_{kernel.upper()}, got {macro}'
        if isa not in ISAS:
            yield f'{variants}: {symbol}: unknown instruction set {isa}'
        elif not re.fullmatch(rf'{kernel}_{ISAS[isa]}(_\d+x\d+)?', symbol):
            yield f'{variants}: expected {kernel}_{ISAS[isa]}[_TILE], got {symbol}'
    listed = [ISAS.get(isa) for _, isa, _ in lines]
    if not listed or listed[-1] != 'scalar':
        yield f'{variants}: expected the scalar reference as the last line'
    present = {isa for isa in ISAS.values() if (folder / f'{isa}.cpp').is_file()}
    for isa in sorted(present - set(listed)):
        yield f'{folder / isa}.cpp: not listed in {variants.name}'
    for isa in sorted(set(listed) - present - {None}):
        yield f'{variants}: no file {isa}.cpp'


def main(kernels):
    folders = sorted(p.parent for p in pathlib.Path(kernels).glob('*/contract.h'))
    problems = [problem for folder in folders for problem in check(folder)]
    print('\n'.join(problems) or f'{len(folders)} kernels follow the naming grammar')
    return 1 if problems or not folders else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
