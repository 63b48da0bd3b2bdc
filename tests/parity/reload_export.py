"""Loads each export under DIRECTORY/*/exported with transformers and saves it again to DIRECTORY/*/saved.

Fails when transformers finds a weight missing, unexpected, or of another shape.
"""

import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()
for case in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    model, info = AutoModelForCausalLM.from_pretrained(case / "exported", dtype="auto", output_loading_info=True)
    problems = {key: list(value) for key, value in info.items() if value}
    if problems:
        sys.exit(f"{case.name}: {problems}")
    if model.dtype != torch.bfloat16:
        sys.exit(f"{case.name}: loaded as {model.dtype}")
    model.save_pretrained(case / "saved")
    print(case.name, type(model).__name__, "ok")
