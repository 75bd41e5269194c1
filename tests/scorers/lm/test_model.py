"""What may be opened, what may not, and what identifies a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from scorers.lm.files import identity  # noqa: E402
from scorers.lm.losses import token_losses  # noqa: E402
from scorers.lm.model import open_model  # noqa: E402

CODE = """
from pathlib import Path
Path(__file__).resolve().with_name("ran").touch()
Path({mark!r}).touch()
from transformers import LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnForCausalLM(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def folder(make_model, tmp_path) -> Path:
    """A copy of a model's folder, to be spoilt."""
    return Path(shutil.copytree(make_model(), tmp_path / "model"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def bring_code(folder: Path, mark: Path, model_type: str) -> None:
    (folder / "own.py").write_text(CODE.replace("{mark!r}", repr(str(mark))))
    own = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnForCausalLM"}
    edit(folder / "config.json", auto_map=own, model_type=model_type)


def test_a_folder_with_pickled_weights_only_is_refused(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"no model.safetensors but only pytorch_model.bin, a pickle") as error:
        open_model(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("model_type", ["own", "llama"])
def test_code_that_comes_with_a_model_is_refused_and_never_runs(folder, tmp_path, model_type):
    bring_code(folder, tmp_path / "ran", model_type)
    with pytest.raises(ValueError, match=r"config.json names code of its own .* set trust_remote_code"):
        open_model(str(folder))
    assert not (tmp_path / "ran").exists()


def test_code_that_the_user_trusts_runs(folder, tmp_path, monkeypatch):
    bring_code(folder, tmp_path / "ran", "own")
    with open_model(str(folder), trust_remote_code=True) as model:
        assert type(model.network).__name__ == "OwnForCausalLM"
        assert len(token_losses(model, ["the dog"]).values)
    assert (tmp_path / "ran").exists()


def test_weights_that_are_missing_are_not_made_up(folder):
    weights = load_file(folder / "model.safetensors")
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"1 weights are missing, model.layers.1.mlp.up_proj.weight first"):
        open_model(str(folder))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter"),
        (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model.safetensors but no weights"),
    ],
)
def test_a_folder_that_will_not_do_is_refused_in_one_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ValueError, match=message) as error:
        open_model(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("setting", [{"dtype": "float16"}, {"attention": "flash"}, {"device": "tpu"}])
def test_a_setting_outside_its_range_is_refused(folder, setting):
    with pytest.raises(ValueError, match=f"{next(iter(setting))} '{next(iter(setting.values()))}': expected"):
        open_model(str(folder), **setting)


def test_one_model_is_open_at_a_time(folder, make_model):
    with open_model(str(folder)) as model:
        with pytest.raises(ValueError, match=r"still open; close it"):
            open_model(str(make_model("GPT2")))
        model.close()
        with open_model(str(make_model("GPT2"))):
            pass
    assert model.network is None


def test_sharded_weights_give_the_same_losses(folder, tmp_path):
    with open_model(str(folder)) as model:
        whole = token_losses(model, ["the quick brown fox"])
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(tmp_path / "parts", max_shard_size="40KB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, tmp_path / "parts")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    with open_model(str(tmp_path / "parts")) as model:
        assert token_losses(model, ["the quick brown fox"]).values.tobytes() == whole.values.tobytes()
    next((tmp_path / "parts").glob("*.safetensors")).unlink()
    with pytest.raises(ValueError, match=r"index.json lists .*; download it again"):
        open_model(str(tmp_path / "parts"))


def test_dtype_attention_and_versions_are_on_record(folder):
    with open_model(str(folder), dtype="bfloat16", attention="eager") as model:
        assert model.network.dtype == torch.bfloat16
        assert model.network.config._attn_implementation == "eager"
        assert not model.network.training
        assert model.engine["dtype"] == "bfloat16"
        assert model.engine["attention"] == "eager"
        assert model.engine["device"] == "cpu"
        assert model.engine["torch"] == torch.__version__


def test_identity_is_the_content_that_counts_wherever_it_lies(folder, tmp_path):
    before = identity(folder)
    (folder / "README.md").write_text("no part of the model")
    moved = shutil.copytree(folder, tmp_path / "elsewhere")
    assert identity(moved) == before
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        changed = shutil.copytree(folder, tmp_path / name)
        content = bytearray((changed / name).read_bytes())
        content[-1] ^= 1
        (changed / name).write_bytes(content)
        assert identity(changed) != before
