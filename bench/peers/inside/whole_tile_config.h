// Included before every C++ source of llama.cpp: gcc 12 tells its optimizer that _tile_loadconfig
// reads 8 of the 64 bytes, drops stores to the others, and the processor refuses the rest (SIGSEGV).

#pragma once

#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#undef _tile_loadconfig
#define _tile_loadconfig(config) \
  __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64])(const void*)(config)))
#endif
