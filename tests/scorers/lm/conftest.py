"""Real model classes with random weights, and a real BPE tokenizer, small enough for a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

WORDS = "the quick brown fox jumps over the lazy dog while seven wizards boil a pot of strong tea in the old garden"
CONTEXT = 64


def bpe(vocabulary: int = 400) -> Tokenizer:
    """Byte-level BPE with <s> and </s>, which trims offsets and truncates at 16 tokens as some published files do."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS, WORDS.title()], trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.enable_truncation(16)
    return tokenizer


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """make_model(architecture, bos=True, **config): the folder of a model that is made once per session."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    made: dict[str, Path] = {}

    def make(architecture: str = "Llama", bos: bool = True, **changes: object) -> Path:
        key = f"{architecture}{bos}{sorted(changes.items())}"
        if key in made:
            return made[key]
        sizes: dict[str, object] = (
            {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": CONTEXT}
            if architecture == "GPT2"
            else {
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 8,
                "max_position_embeddings": CONTEXT,
            }
        )
        tokenizer = bpe()
        # Big weights: losses far from log(vocabulary), and caps on logits that bite.
        config = getattr(transformers, f"{architecture}Config")(
            **({"vocab_size": tokenizer.get_vocab_size(), "initializer_range": 0.3} | sizes | changes)
        )
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp(architecture)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        special = {"bos_token": "<s>"} if bos else {}
        fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", **special)
        fast.save_pretrained(folder)
        made[key] = folder
        return folder

    return make
