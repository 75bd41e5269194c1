"""Language models for the benchmark `losses`: Llamas of three shapes, with a tokenizer made from the benchmark's text.

Their weights are random, which changes no speed; the tokenizers are byte-level BPE over the text that is measured, so
that documents have as many tokens as they would have. Any other folder of a causal language model (config, safetensors,
tokenizer.json) that lies in benchmarks/.data/models is measured as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import corpus
from benchmarks.common import DATA, say, shown

MODELS = DATA / "models"
CONTEXT = 2048
SHAPES: dict[str, dict[str, int]] = {
    # Of a 4,096 word vocabulary, as tokenizers of tiny models have it.
    "4M-4k": {"vocab_size": 4096, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 8, "heads": 6},
    # The head does a fifth of the work, about as in models of 100 million to a billion parameters.
    "28M-16k": {
        "vocab_size": 16384,
        "hidden_size": 384,
        "intermediate_size": 1024,
        "num_hidden_layers": 12,
        "heads": 6,
    },
    # The worst case: nearly all of the work is the head's, and softmax over 49,152 words.
    "7M-49k": {"vocab_size": 49152, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "heads": 4},
}
TEXT_MB = 10


def make() -> list[Path]:
    """Folders of all models, the shapes made if they are not there."""
    for name in SHAPES:
        made(name)
    return sorted(path.parent for path in MODELS.glob("*/config.json"))


def made(name: str) -> Path:
    """The folder of one shape, made if it is not there."""
    if not (MODELS / name / "model.safetensors").exists():
        say(f"making {shown(MODELS / name)}")
        _make(MODELS / name, SHAPES[name])
    return MODELS / name


def _make(folder: Path, shape: dict[str, int]) -> None:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=shape["vocab_size"],
        special_tokens=["<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(_texts(), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>")
    torch.manual_seed(0)
    sizes = {key: value for key, value in shape.items() if key != "heads"}
    config = LlamaConfig(
        **sizes,
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["heads"],
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
    )
    tokenizer.save_pretrained(folder)
    LlamaForCausalLM(config).save_pretrained(folder)


def _texts() -> Iterator[str]:
    for batch in corpus.first_megabytes(TEXT_MB).select(["text"]).to_batches(1024):
        yield from batch.column(0).to_pylist()
