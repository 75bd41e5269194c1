"""The model that is trained: a Hugging Face causal language model, from a config or from a checkpoint.

    network = open_network(settings.model, tokens, seed=0)
    trainee = Trainee(network)
    nll, lse = trainee(inputs, positions, where, labels)       # of the scored positions

Rows hold several documents. Their bounds are told to the model by positions that restart: with no attention mask
given, transformers builds the block-diagonal mask of its attention kernel from them. Not every architecture does that,
so `check_isolation` asks the model itself, once, before any training: changing a document must not move the next one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.errors import UserError
from pipeline.trainer.loss import OfLogits, head_losses, logit_losses, logit_pieces
from pipeline.trainer.settings import ModelSettings
from scorers.lm.files import check_folder, identity, model_folder


class Trainee(nn.Module):
    """A causal language model that answers with the losses of chosen positions."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network
        self.splits = _head_splits(network)
        self.flat = network.config._attn_implementation.startswith("flash")

    def forward(
        self,
        inputs: torch.Tensor,
        positions: torch.Tensor,
        where: torch.Tensor,
        labels: torch.Tensor,
        of_logits: OfLogits | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """float32 (n,) twice: negative log-likelihood in nats and log-partition at the scored positions.

        inputs, positions: int64 (rows, context); where: int64 (n,), scored positions of the flattened rows; labels:
        int64 (n,). of_logits: what to make of the logits instead.
        """
        if self.flat:
            # The variable-length kernels find the documents in one long row only.
            inputs, positions = inputs.reshape(1, -1), positions.reshape(1, -1)
        told = {"input_ids": inputs, "position_ids": positions, "use_cache": False}
        if not self.splits:
            logits = self.network(**told).logits.flatten(0, 1)[where]
            return logit_losses(logits, labels) if of_logits is None else of_logits(logits.float(), labels)
        hidden = self.network.base_model(**told)[0].flatten(0, 1)[where]
        head = self.network.get_output_embeddings()
        if of_logits is not None:
            return logit_pieces(hidden, head, labels, of_logits)
        return head_losses(hidden, head.weight, getattr(head, "bias", None), labels)


def open_network(settings: ModelSettings, vocabulary: int, specials: dict[str, int | None], seed: int) -> Any:
    """A float32 model on the CPU. vocabulary: of the tokenizer; specials: {bos_token_id, eos_token_id, ...}.

    Raises UserError if there is no such model or config, or its vocabulary is smaller than the tokenizer's.
    """
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if settings.checkpoint is not None:
        folder = checkpoint_folder(settings)
        network = read_network(folder, settings.attention, settings.trust_remote_code)
    else:
        values = config_values(settings) | {name: value for name, value in specials.items() if value is not None}
        values.setdefault("vocab_size", vocabulary)
        kind = values.pop("model_type", None)
        if kind is None:
            raise UserError("model.config: no `model_type`, such as llama; expected a Hugging Face config")
        try:
            config = AutoConfig.for_model(kind, **values)
            torch.manual_seed(seed)
            network = AutoModelForCausalLM.from_config(
                config, dtype=torch.float32, attn_implementation=settings.attention
            )
        except (ValueError, TypeError, ImportError) as error:
            raise UserError(f"model.config: {' '.join(str(error).split())[:300]}") from None
    rows = network.get_input_embeddings().weight.shape[0]
    if rows < vocabulary:
        raise UserError(
            f"the model has {rows} embeddings, the tokenizer {vocabulary} tokens; they do not belong together"
        )
    return network


def read_network(folder: Path, attention: str, trust_remote_code: bool = False) -> Any:
    """A folder's model in float32. Raises UserError where weights are missing (they would be drawn at random)."""
    from transformers import AutoModelForCausalLM

    network, loading = AutoModelForCausalLM.from_pretrained(
        folder,
        output_loading_info=True,
        dtype=torch.float32,
        attn_implementation=attention,
        use_safetensors=True,
        trust_remote_code=trust_remote_code,
        local_files_only=True,
    )
    if loading["missing_keys"]:
        missing = sorted(loading["missing_keys"])
        raise UserError(
            f"{folder}: {len(missing)} weights are missing, {missing[0]} first; expected a causal LM's folder"
        )
    return network


def config_values(settings: ModelSettings) -> dict[str, Any]:
    """The values of `model.config`, read from a file if it names one."""
    if isinstance(settings.config, dict):
        return dict(settings.config)
    path = Path(str(settings.config)).expanduser()
    path = path / "config.json" if path.is_dir() else path
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"model.config {settings.config}: cannot be read as JSON ({error})") from None


def checkpoint_folder(settings: ModelSettings) -> Path:
    """The local folder of `model.checkpoint`, checked: safetensors only, no code unless it is trusted."""
    assert settings.checkpoint is not None
    folder = model_folder(settings.checkpoint, settings.revision, settings.trust_remote_code)
    check_folder(folder, settings.trust_remote_code)
    return folder


def model_fields(settings: ModelSettings) -> dict[str, Any]:
    """What a stage hashes of the model: config or the identity of the checkpoint's files, and the attention kernel."""
    made = {"attention": settings.attention}
    if settings.checkpoint is None:
        return made | {"config": config_values(settings)}
    return made | {"checkpoint": identity(checkpoint_folder(settings), settings.trust_remote_code)}


def decoder_layers(network: Any) -> list[nn.Module]:
    """The decoder layers, in order: the modules of the classes that the architecture says not to split."""
    names = set(network._no_split_modules or ())
    # Sharding makes a subclass of a layer's own class.
    return [module for module in network.modules() if names & {kind.__name__ for kind in type(module).__mro__}]


def check_isolation(trainee: Trainee, vocabulary: int) -> None:
    """Raises UserError if what stands in one document of a row moves the losses of the next one."""
    device = next(trainee.parameters()).device
    ids = (torch.arange(12, device=device) * 7 + 1) % vocabulary
    other = ids.clone()
    other[:6] = (ids[:6] + 3) % vocabulary
    positions = torch.cat([torch.arange(6), torch.arange(6)]).to(device)[None]
    where, labels = torch.arange(6, 12, device=device), ids[6:]
    was = trainee.training
    trainee.eval()
    with torch.inference_mode():
        first, second = (trainee(one[None], positions, where, labels)[0] for one in (ids, other))
        alone = trainee(ids[None, 6:], positions[:, 6:], where - 6, labels)[0]
    trainee.train(was)
    if not torch.equal(first, second) or not torch.allclose(first, alone, atol=1e-4, rtol=1e-3):
        raise UserError(
            f"{type(trainee.network).__name__} with attention {trainee.network.config._attn_implementation!r} does not "
            "keep the documents of a row apart; choose another `model.attention` or architecture"
        )


def _head_splits(network: Any) -> bool:
    """Whether head(body(ids)) is what the network computes; tried, for architectures that scale or cap are many."""
    head, body = network.get_output_embeddings(), network.base_model
    if head is None or body is network:
        return False
    was = network.training
    network.eval()
    ids = torch.arange(8, device=network.device)[None] * (network.get_input_embeddings().weight.shape[0] // 8)
    with torch.inference_mode():
        told = {"input_ids": ids, "position_ids": torch.arange(8, device=ids.device)[None], "use_cache": False}
        same = torch.equal(network(**told).logits, head(body(**told)[0]))
    network.train(was)
    return same
