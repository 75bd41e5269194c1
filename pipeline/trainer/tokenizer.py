"""The tokenizer's files as a checkpoint carries them, so that transformers and vLLM open it with nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline import models
from pipeline.errors import UserError
from scorers.lm.files import TOKENIZER_FILES


def vocabulary_of(tokenizer: str | None) -> int:
    """Number of tokens, added ones included; 0 without a tokenizer (ready token ids)."""
    if tokenizer is None:
        return 0
    from scorers.lengths import load_tokenizer

    return load_tokenizer(str(models.local_file(tokenizer, "tokenizer"))).get_vocab_size(with_added_tokens=True)


def tokenizer_folder(tokenizer: str | None, bos: int, eos: int | None, place: Path) -> Path:
    """`place`, filled with the files of a tokenizer: a folder's as they are; a lone tokenizer.json gets the settings
    that transformers wants beside it."""
    if tokenizer is None:
        return place
    source = models.local_file(tokenizer, "tokenizer")
    folder = source if source.is_dir() else source.parent
    if (folder / "tokenizer_config.json").is_file():
        for name in (*TOKENIZER_FILES, "chat_template.jinja"):
            if (folder / name).is_file():
                shutil.copyfile(folder / name, place / name)
        return place
    from transformers import PreTrainedTokenizerFast

    from scorers.lengths import load_tokenizer

    plain = load_tokenizer(str(source))
    specials = {"bos_token": plain.id_to_token(bos)}
    if eos is not None:
        specials["eos_token"] = plain.id_to_token(eos)
    if None in specials.values():
        raise UserError(f"tokenizer {tokenizer}: no token has the id {bos} (bos) or {eos} (eos)")
    PreTrainedTokenizerFast(tokenizer_object=plain, **specials).save_pretrained(place)
    return place
