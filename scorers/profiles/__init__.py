"""The repetition filters of other tools, number by number, and their verdict on each document.

"The Gopher repetition filter" has seven implementations that disagree (docs/profiles.md says in what). A profile gives
one tool's own numbers, edge cases included, under the tool's own names, and what it would do:

    <alias>_<number>   float64; null where the tool computes none
    <alias>_keep       bool
    <alias>_reason     string: the tool's first broken rule, null if the document is kept

The releases that the profiles follow are in FOLLOWS. They are plain Python over words as the tool splits them: right
before fast. The project's own metrics are those of the scorer `repetition`.

    tamis score fineweb=profile --set fineweb.profile=datatrove --set fineweb.language=de
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from scorers.profiles.rules import PROFILES, limits_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from scorers.texts import Texts

VERSION = 1

FOLLOWS = {
    "datatrove": "datatrove 0.10.1, GopherRepetitionFilter; other languages: FineWeb-2's configurations",
    "dolma-v1": "dolma 1.2.1, tagger gopher_v1; the limits are those of Dolma's mixer configurations",
    "dolma-v2": "dolma 1.2.1, tagger gopher_v2; the same limits",
    "nemo": "nemo-curator 1.4.0, heuristic repetition filters with the limits of its English pipeline",
    "rpv2": "RedPajama-Data 6d2cee9 (2024-12), quality signals; Gopher's limits, since it has none of its own",
    "dclm": "dclm 361714b (2025-09), massive_web_repetition_filters",
    "olmo3": "datamap-rs f771794 (2026-03), massive_web_repetition_filter",
}


class Settings(BaseModel):
    """Which tool, and how strict."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: Literal["datatrove", "dolma-v1", "dolma-v2", "nemo", "rpv2", "dclm", "olmo3"]
    # Of the words (datatrove: a spaCy language; nemo: zh and ja have splitters of their own), and of the limits where a
    # tool has some per language.
    language: str = "en"
    # Other limits by the name of the number; null switches a rule off.
    limits: tuple[tuple[str, float | None], ...] = ()

    @field_validator("language")
    @classmethod
    def _short(cls, language: str) -> str:
        if not language.isalpha() or not 2 <= len(language) <= 3:
            raise ValueError("expected a code such as en, de or zh")
        return language.lower()

    @field_validator("limits", mode="before")
    @classmethod
    def _pairs(cls, limits: Any) -> Any:
        """A mapping, as it is written, becomes pairs: settings are hashed."""
        return tuple(sorted(limits.items())) if isinstance(limits, dict) else limits

    @model_validator(mode="after")
    def _known(self) -> Settings:
        names = PROFILES[self.profile].limits
        for name, _ in self.limits:
            if name not in names:
                raise ValueError(f"limits.{name}: profile {self.profile} has {', '.join(names)}")
        return self


def model_files(settings: Settings) -> dict[str, str]:
    """None: everything is in the settings."""
    return {}


def load(settings: Settings, files: dict[str, str], name: str) -> Profile:
    """The scorer; raises ValueError if the tool's word splitter is not installed."""
    from scorers.profiles.splitters import splitter_for

    chosen = PROFILES[settings.profile]
    limits = limits_for(settings.profile, settings.language) | dict(settings.limits)
    split = splitter_for(chosen.words, settings.language)
    fields = [(f"{name}_{number}", pa.float64()) for number in chosen.limits]
    fields += [(f"{name}_keep", pa.bool_()), (f"{name}_reason", pa.string())]
    return Profile(settings.profile, limits, split, pa.schema(fields))


@dataclass(frozen=True)
class Profile:
    """A loaded profile."""

    profile: str
    limits: dict[str, float | None]
    split: Callable[[str], list[str]]
    schema: pa.Schema

    def score(self, texts: Texts) -> list[pa.Array]:
        """One array per field of ``schema``."""
        from scorers.profiles.measures import MEASURES
        from scorers.profiles.rules import verdict

        measure = MEASURES[self.profile]
        columns: list[list[float | bool | str | None]] = [[] for _ in self.schema]
        for begin, end in zip(texts.offsets[:-1].tolist(), texts.offsets[1:].tolist(), strict=True):
            text = texts.data[begin:end].tobytes().decode()
            numbers = measure(text, self.split)
            reason = verdict(self.profile, text, numbers, self.limits)
            values = [*(numbers.get(name) for name in self.limits), reason is None, reason]
            for column, value in zip(columns, values, strict=True):
                column.append(value)
        return [pa.array(column, field.type) for column, field in zip(columns, self.schema, strict=True)]
