"""What a run trains on, as the user says it. Imports nothing but pydantic.

DataSettings(paths=["exports/best-1a2b3c4d"], tokenizer="tokenizer.json", weight="weight")
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DataSettings(BaseModel):
    """Documents and how they become tokens. Everything but `weight_as` decides about the bytes of a pack."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    paths: Annotated[list[str], Field(min_length=1)]
    """exports, dataset folders, files, globs or URLs: Parquet, JSONL (.gz, .zst) or a folder made by save_to_disk"""
    split: str = "train"
    """of exports and dataset folders that have several; `held_out` is the other one of Tamis"""
    tokenizer: str | None = None
    """tokenizer.json, a folder that holds one, or a hub name"""
    text: str = "text"
    """column of the text"""
    tokens: str | None = None
    """column of ready token ids, a list of integers, used instead of the text"""
    messages: str | None = None
    """column of conversations, used instead of the text; the loss is on the messages of `roles`"""
    roles: list[str] = ["assistant"]
    weight: str | None = None
    """column of document weights, finite and not negative"""
    weight_as: Literal["loss", "resample"] = "loss"
    """loss: multiplies the document's loss; resample: how often the document comes in an epoch, on average"""
    token_weights: str | None = None
    """column of a weight per token of `tokens`, or of the text's own tokens; 0: the token is read but not learnt"""
    source: str = "source"
    """column that tells where a document is from, if there is one"""
    id: str = "id"
    """column of ids; where there is none, a document is called <file>:<row>"""
    bos: Annotated[int, Field(ge=0)] | None = None
    """id of the token in front of every document; None: the tokenizer's BOS, else its EOS"""
    eos: Annotated[int, Field(ge=0)] | None = None
    """id of the token after every document; None: the tokenizer's EOS"""
    limit_documents: Annotated[int, Field(ge=1)] | None = None
    """only the first so many rows"""

    @model_validator(mode="after")
    def _together(self) -> DataSettings:
        if self.tokens is not None and self.messages is not None:
            raise ValueError("give `tokens` or `messages`, not both: each is used instead of the text")
        if self.messages is not None and self.token_weights is not None:
            raise ValueError("`token_weights` do not go with `messages`: there `roles` say what is learnt")
        return self
