"""usage: make_openvino.py CHECKPOINT FOLDER sym|asym

The checkpoint as OpenVINO's own exporter writes it for `--weight-format int4`: groups of 128 for the
blocks' matrices, 8 bits for embedding and classifier.
"""

import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

from optimum.intel import OVModelForCausalLM, OVWeightQuantizationConfig

config = OVWeightQuantizationConfig(bits=4, sym=sys.argv[3] == "sym", group_size=128, ratio=1.0,
                                    group_size_fallback="adjust")
model = OVModelForCausalLM.from_pretrained(sys.argv[1], export=True, compile=False,
                                           quantization_config=config)
model.save_pretrained(sys.argv[2])
