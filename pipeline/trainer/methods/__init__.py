"""Training methods from the literature, one module each; `methods` of a training config names them.

    methods:
      - {method: reweight, strategy: linupper, r: 0.4, warmup_steps: 1000}

A module has `Settings` (pydantic) and `make(settings, seed) -> pipeline.trainer.hooks.Method`; one with NEEDS_TOKENIZER
gets the name of the data's tokenizer (None: the data is token ids) as a third argument. Adding one means: the
module, a line in METHODS, a test, a section in docs/methods.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pipeline.config_errors import nearest, parsed
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pipeline.trainer.hooks import Method

METHODS = {
    "ditto": "pipeline.trainer.methods.ditto",
    "fira": "pipeline.trainer.methods.fira",
    "flatness": "pipeline.trainer.methods.flatness",
    "forget": "pipeline.trainer.methods.forget",
    "frugal": "pipeline.trainer.methods.frugal",
    "lost": "pipeline.trainer.methods.lost",
    "multi_token": "pipeline.trainer.methods.multi_token",
    "reweight": "pipeline.trainer.methods.reweight",
    "tokens": "pipeline.trainer.methods.tokens",
    "znorm_softplus": "pipeline.trainer.methods.znorm_softplus",
}

WANTS = {
    "prepare": "change the network",
    "optimizer": "make the optimizer",
    "losses": "make the losses",
    "shares": "make the shares",
}
"""Hooks that only one method may have, as errors say it."""


def method_settings(entries: list[dict[str, Any]], where: str) -> dict[str, BaseModel]:
    """{method: checked settings}, in order. Raises UserError for an unknown method, setting or value."""
    made: dict[str, Any] = {}
    for n, entry in enumerate(entries):
        values = dict(entry)
        name = values.pop("method", None)
        if name not in METHODS:
            raise UserError(f"{where}: methods[{n}].method: unknown method {name!r}{nearest(str(name), METHODS)}")
        if name in made:
            raise UserError(f"{where}: methods[{n}]: {name!r} stands twice")
        made[name] = parsed(importlib.import_module(METHODS[name]).Settings, values, f"{where}: methods[{n}]")
    return made


def make_methods(settings: dict[str, BaseModel], seed: int, tokenizer: str | None = None) -> list[Method]:
    """The methods of a run. At most one of them changes the network, makes the optimizer, the losses or the shares."""
    made = []
    for name, one in settings.items():
        module = importlib.import_module(METHODS[name])
        told = (tokenizer,) if getattr(module, "NEEDS_TOKENIZER", False) else ()
        made.append(module.make(one, seed, *told))
    for hook in WANTS:
        owners = [method.name for method in made if getattr(method, hook) is not None]
        if len(owners) > 1:
            raise UserError(f"methods: {' and '.join(owners)} both want to {WANTS[hook]}; take one of them")
    return made
