"""LoRA adapters: small weights beside those of a base model, which stays in memory once for all of them.

An adapter is a folder of peft's: adapter_config.json and adapter_model.safetensors. What is a pickle is refused, as
for models. The package peft comes with the extra ``lora``.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

FILES = ("adapter_config.json", "adapter_model.safetensors")


def check_adapter(folder: Path) -> None:
    """Raises ValueError if the folder is no adapter in safetensors, or an adapter that is no LoRA."""
    for name in FILES:
        if not (folder / name).is_file():
            raise ValueError(f"adapter {folder} has no {name}; expected a folder that peft saved, in safetensors")
    try:
        kind = json.loads((folder / FILES[0]).read_text(encoding="utf-8")).get("peft_type")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{folder / FILES[0]} is not a JSON object: {error}") from None
    if kind != "LORA":
        raise ValueError(f"adapter {folder} is of the type {kind}; expected LORA, which can be switched off")


class Adapters:
    """The adapters beside the weights of one transformers model; one of them is on at a time, or none."""

    def __init__(self, network: Any):
        self.network = network
        self._names: dict[Path, str] = {}
        self._wrapped: Any = None

    def wear(self, folder: Path | None) -> None:
        """Switch an adapter on, reading it the first time; None: all of them off. Raises ValueError."""
        if folder is None:
            if self._wrapped is not None:
                self._wrapped.base_model.disable_adapter_layers()
            return
        if folder not in self._names:
            self._read(folder)
        self._wrapped.base_model.enable_adapter_layers()
        self._wrapped.set_adapter(self._names[folder])
        self.network.requires_grad_(False)

    def _read(self, folder: Path) -> None:
        check_adapter(folder)
        if importlib.util.find_spec("peft") is None:
            raise ValueError("peft is not installed; adapters need the extra lora: pip install 'tamis[lora]'")
        from peft import PeftModel

        name = f"adapter_{len(self._names)}"
        try:
            if self._wrapped is None:
                self._wrapped = PeftModel.from_pretrained(self.network, str(folder), adapter_name=name)
            else:
                self._wrapped.load_adapter(str(folder), adapter_name=name)
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"adapter {folder} does not fit its base model: {reason}") from None
        self._wrapped.eval()
        self._names[folder] = name
