"""Open one causal language model, and let go of it.

>>> with open_model("models/small", dtype="float32") as model:
...     model.engine
{'torch': '2.13.0', 'transformers': '5.23.0', 'dtype': 'float32', 'device': 'cpu', 'attention': 'sdpa'}

A model is memory first of all: a second one cannot be opened before the first is closed. What a stage hashes is
``identity(folder)`` and ``engine_record(...)``; both are to be had without torch and without opening anything.
"""

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from scorers.lm.adapters import Adapters
from scorers.lm.files import check_folder, model_folder
from scorers.lm.tokens import plain_tokenizer

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

Dtype = Literal["float32", "bfloat16"]
Attention = Literal["sdpa", "eager"]

_resident: Path | None = None


@dataclass
class LanguageModel:
    """A causal language model in evaluation mode.

    folder: the local folder it was read from.
    network: the transformers model. tokenizer: a copy that only splits (tokens.plain_tokenizer). bos: its BOS id.
    context: the most tokens one window may hold, None if the architecture names no limit.
    rows: of the embedding; a token id from there on has none.
    split_head: whether head(body(ids)) is exactly what the network computes, so that the head can be applied piece
        by piece (not so for models that scale or cap their logits).
    engine: see engine_record.
    adapters: LoRA adapters beside the weights, all of them off at first.
    """

    folder: Path
    network: Any
    tokenizer: Tokenizer
    bos: int | None
    context: int | None
    rows: int
    split_head: bool
    engine: dict[str, str]
    adapters: Adapters

    @property
    def device(self) -> torch.device:
        return self.network.device

    def close(self) -> None:
        """Free the weights; safe to call twice."""
        global _resident
        if self.network is None:
            return
        on_gpu = self.device.type == "cuda"
        self.network = None
        self.adapters = Adapters(None)
        _resident = None
        gc.collect()
        if on_gpu:
            import torch

            torch.cuda.empty_cache()

    def __enter__(self) -> LanguageModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def engine_record(dtype: Dtype, device: str, attention: Attention) -> dict[str, str]:
    """What besides model and text decides the bits of a loss: versions, dtype, device kind, attention kernel.

    ``device`` may name one of several (cuda:1); only its kind is recorded. The number of torch's threads and the model
    of the processor or GPU may change last bits too and are not part of it: equal within a tolerance, see losses.
    """
    return {
        "torch": importlib.metadata.version("torch"),
        "transformers": importlib.metadata.version("transformers"),
        "dtype": dtype,
        "device": device.partition(":")[0],
        "attention": attention,
    }


def open_model(
    name: str,
    *,
    dtype: Dtype = "float32",
    device: str = "cpu",
    attention: Attention = "sdpa",
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Open the model of a local folder or of the hub.

    Weights are read from safetensors only, and code that comes with the model runs only with trust_remote_code.
    Raises ValueError, with one line that says how to mend it, for a setting, folder or tokenizer that will not do, or
    if another model is still open.
    """
    global _resident
    _check_settings(dtype, device, attention)
    if _resident is not None:
        raise ValueError(f"{_resident} is still open; close it before {name} is opened: one model at a time")
    folder = model_folder(name, revision, trust_remote_code)
    check_folder(folder, trust_remote_code)

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r}: torch sees no GPU; use device 'cpu' or install a CUDA build of torch")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code, local_files_only=True)
    if not tokenizer.is_fast:
        raise ValueError(f"{folder}: its tokenizer has no tokenizer.json; token positions in the text need one")
    network, loading = AutoModelForCausalLM.from_pretrained(
        folder,
        output_loading_info=True,
        dtype=getattr(torch, dtype),
        attn_implementation=attention,
        use_safetensors=True,
        trust_remote_code=trust_remote_code,
        local_files_only=True,
    )
    if loading["missing_keys"]:  # transformers would go on with random weights in their place
        missing = sorted(loading["missing_keys"])
        raise ValueError(
            f"{folder}: {len(missing)} weights are missing, {missing[0]} first; expected a causal LM's folder"
        )
    network.requires_grad_(False).eval().to(device)
    rows = network.get_input_embeddings().weight.shape[0]
    model = LanguageModel(
        folder=folder,
        network=network,
        tokenizer=plain_tokenizer(tokenizer.backend_tokenizer),
        bos=tokenizer.bos_token_id,
        context=getattr(network.config.get_text_config(), "max_position_embeddings", None),
        rows=rows,
        split_head=_head_splits(network, rows),
        engine=engine_record(dtype, device, attention),
        adapters=Adapters(network),
    )
    _resident = folder  # last: a model that did not fit in memory is not open
    return model


def _check_settings(dtype: str, device: str, attention: str) -> None:
    if dtype not in get_args(Dtype):
        raise ValueError(f"dtype {dtype!r}: expected one of {', '.join(get_args(Dtype))}")
    if attention not in get_args(Attention):
        raise ValueError(f"attention {attention!r}: expected one of {', '.join(get_args(Attention))}")
    if device.partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError(f"device {device!r}: expected cpu, cuda or cuda:N")
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"{package} is not installed; language models need the extra lm: pip install 'tamis[lm]'")


def _head_splits(network: Any, rows: int) -> bool:
    """Tried, not looked up: the architectures that scale, cap or project their logits are too many to list."""
    import torch

    head = network.get_output_embeddings()
    body = network.base_model
    if head is None or body is network:
        return False
    ids = torch.arange(8, device=network.device)[None] * (rows // 8)
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        whole = network(input_ids=ids, attention_mask=mask, use_cache=False).logits
        states = body(input_ids=ids, attention_mask=mask, use_cache=False)[0]
        # Some networks project between body and head.
        return states.shape[-1] == head.weight.shape[-1] and torch.equal(head(states).float(), whole.float())
