"""usage: llama_cpp_quantize.py FROM.gguf TO.gguf FTYPE

What llama-quantize does with its defaults. FTYPE is the end of a LLAMA_FTYPE_MOSTLY_ name.
"""

import ctypes
import sys

import llama_cpp as lc

params = lc.llama_model_quantize_default_params()
params.ftype = getattr(lc, "LLAMA_FTYPE_MOSTLY_" + sys.argv[3])
params.allow_requantize = True
params.nthread = 2
sys.exit(lc.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(params)))
