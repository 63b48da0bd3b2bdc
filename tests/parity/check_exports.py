"""check_exports.py EXPORTS REFERENCE: the models that the Trainer trained on a mesh and exported load in transformers with
every weight in place, and are the models that PyTorch trained."""

import pathlib
import sys

import transformers
from safetensors.torch import load_file

from checkpoint_names import in_checkpoint

# What a run records about itself, not about the model.
NOT_THE_MODEL = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")


def config_of(directory):
    config = transformers.AutoConfig.from_pretrained(directory).to_dict()
    return {key: value for key, value in config.items() if key not in NOT_THE_MODEL}


def check(exported, reference):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        exported, dtype="float32", output_loading_info=True)
    problems = {key: value for key, value in info.items() if value}
    assert not problems, f"{exported.name}: {problems}"
    assert config_of(exported) == config_of(reference), f"{exported.name}: the configuration changed"

    start = load_file(reference / "model.safetensors")
    values = load_file(reference / "reference.safetensors")
    worst = 0.0
    for name, parameter in in_checkpoint(model.config.model_type, dict(model.named_parameters())).items():
        expected = values[f"train.weight.{name}"]
        # Against the size of the update: the weights that training began with are not good enough.
        worst = max(worst, float((parameter.detach() - expected).norm() / (expected - start[name]).norm()))
    assert worst < 0.1, f"{exported.name}: weights are off by {worst} of what training changed"
    print(f"{exported.name}: {len(start)} tensors, within {worst:.1e} of what training changed")


def main():
    exports, references = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    names = sorted(path.name for path in references.iterdir() if path.is_dir())
    assert names, f"no cases in {references}"
    for name in names:
        check(exports / name, references / name)


if __name__ == "__main__":
    main()
