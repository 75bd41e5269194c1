"""Training methods from the literature, one module each; `methods` of a training config names them.

    methods:
      - {method: reweight, strategy: linupper, r: 0.4, warmup_steps: 1000}

A module has `Settings` (pydantic) and `make(settings, seed) -> pipeline.trainer.hooks.Method`. Adding one means: the
module, a line in METHODS, a test, a paragraph in docs/training.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pipeline.config_errors import nearest, parsed
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pipeline.trainer.hooks import Method

METHODS = {"reweight": "pipeline.trainer.methods.reweight"}


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


def make_methods(settings: dict[str, BaseModel], seed: int) -> list[Method]:
    """The methods of a run. At most one of them makes the optimizer, and one the shares."""
    made = [importlib.import_module(METHODS[name]).make(one, seed) for name, one in settings.items()]
    for hook in ("optimizer", "shares"):
        owners = [method.name for method in made if getattr(method, hook) is not None]
        if len(owners) > 1:
            raise UserError(f"methods: {' and '.join(owners)} both want to make the {hook}; take one of them")
    return made
