"""Networks whose modules a method has changed: how they are written to a checkpoint and read again.

A checkpoint holds the weights of the architecture as it was, which transformers and vLLM load, and beside them, in
parts.safetensors, what the changed network has that the architecture has not. Where a method can give no plain weights
there is no model.safetensors, so that nothing else takes the folder for a model, and the parts are the whole network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pipeline.errors import UserError
from pipeline.trainer.hooks import Method
from pipeline.trainer.model import read_network

PARTS = "parts.safetensors"


def changer(methods: Sequence[Method]) -> Method | None:
    """The method that changes the network, if one does."""
    return next((method for method in methods if method.prepare is not None), None)


def write_changed(path: Path, network: Any, weights: Mapping[str, torch.Tensor], method: Method) -> None:
    """Fill a checkpoint's folder. weights: of the changed network, whole, on the CPU."""
    assert method.export is not None
    plain = method.export(weights)
    if plain is None:
        network.config.save_pretrained(path)
    else:
        network.save_pretrained(path, state_dict=plain)
    own = {name: value.contiguous() for name, value in weights.items() if plain is None or name not in plain}
    save_file(_apart(own), path / PARTS)


def read_changed(path: Path, attention: str, method: Method) -> Any:
    """The changed network of a checkpoint's folder, float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    assert method.prepare is not None
    if (path / "model.safetensors").exists() or (path / "model.safetensors.index.json").exists():
        network = read_network(path, attention)
    else:
        config = AutoConfig.from_pretrained(path, local_files_only=True)
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention)
    if not (path / PARTS).exists():
        raise UserError(f"{path}: no {PARTS}; the run went on without method {method.name!r}, it cannot come back")
    method.prepare(network, False)
    parts = load_file(path / PARTS)
    missing, unknown = network.load_state_dict(parts, strict=False)
    plain = (path / "model.safetensors").exists()
    if unknown or (missing and not plain and not set(missing) <= _tied(network)):
        raise UserError(f"{path / PARTS}: {(unknown or missing)[0]} does not fit; written by another method or version")
    return network


def _tied(network: Any) -> set[str]:
    return set(getattr(network, "all_tied_weights_keys", None) or ())


def _apart(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without second names of one tensor, which safetensors refuses."""
    seen: set[int] = set()
    found = {}
    for name, value in weights.items():
        if value.data_ptr() not in seen or not value.numel():
            seen.add(value.data_ptr())
            found[name] = value
    return found
