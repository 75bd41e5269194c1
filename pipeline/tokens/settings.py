"""What the user may say about token scores, selections and exports. Imports nothing but pydantic.

corpus: chat
earlier: models/base                           # a folder or hub name; or {model: ..., adapter: ...}
later: {model: models/base, adapter: runs/lora}
layer: -1
selections:
  sstoken: {method: sstoken, rho: 0.6, gamma: 0.5}
exports:
  sstoken: {selection: sstoken, to: trl}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Role = Literal["earlier", "later", "reference"]
ROLES: tuple[Role, ...] = ("earlier", "later", "reference")
"""earlier: as it was before fine-tuning (ssToken's history, Token Cleaning's base). later: after it, or as it is now.
reference: tuned on data that is known to be good."""
Share = Annotated[float, Field(ge=0, le=1)]


def check_part(part: tuple[int, int] | None) -> None:
    """Raises ValueError for a part that there is not."""
    if part is not None and not 0 <= part[0] < part[1]:
        raise ValueError(f"`part` {list(part)}: expected [t, n] with 0 <= t < n")


class Checkpoint(BaseModel):
    """A model, with a LoRA adapter on it or without."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    """a folder, or a name on the Hugging Face hub; safetensors only"""
    adapter: str | None = None
    """folder of a LoRA adapter that peft saved"""
    revision: str | None = None


class ScoreTokensSettings(BaseModel):
    """Which checkpoints read the tokens, and what is kept of what they say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    earlier: Checkpoint | None = None
    later: Checkpoint | None = None
    reference: Checkpoint | None = None
    tokenizer: str | None = None
    """None: that of `later`, else of `reference`, else of `earlier`"""
    template: str | None = None
    """file of a chat template (Jinja); None: the tokenizer's own"""
    attention: Role | None = None
    """the checkpoint whose attention is measured; None: later, else earlier, else reference"""
    layer: int | None = -1
    """the layer of it, -1 the last; None: no attention"""
    sinks: Annotated[int, Field(ge=0)] = 1
    """so many first tokens of a document are a class of their own in the attention masses"""
    entropy: bool = False
    """keep the entropy of each prediction, in nats"""
    ranks: bool = False
    """keep how many tokens each checkpoint held more likely"""
    context: Annotated[int, Field(ge=2)] | None = None
    """tokens after this are not scored; None: the shortest limit among the models' configs"""
    layout: Literal["padded", "packed"] = "padded"
    """packed: several documents in a row of `context` tokens; for kernels of variable length on GPUs"""
    token_budget: Annotated[int, Field(ge=1)] = 8192
    """tokens of one batch, padding included"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"
    kernel: Literal["sdpa", "eager"] = "sdpa"
    """of the attention"""
    threads: Annotated[int, Field(ge=1)] | None = None
    """of torch on a CPU, part of the hash, for sums round by it; None: one per core"""
    trust_remote_code: bool = False
    part: tuple[int, int] | None = None
    """(t, n): only the documents of part t of n, from 0, by a hash of the id; the others have no tokens"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the parts; a selection of one has the same"""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict):
            return {k: {"model": v} if k in ROLES and isinstance(v, str) else v for k, v in values.items()}
        return values

    @model_validator(mode="after")
    def _some(self) -> ScoreTokensSettings:
        if not self.checkpoints:
            raise ValueError("give at least one checkpoint: `earlier`, `later` or `reference`")
        if self.attention is not None and self.attention not in self.checkpoints:
            raise ValueError(f"`attention` is of {self.attention!r}, which is not given")
        check_part(self.part)
        return self

    @property
    def checkpoints(self) -> dict[str, Checkpoint]:
        """{role: checkpoint} of those that are given."""
        found = {role: getattr(self, role) for role in ROLES}
        return {role: one for role, one in found.items() if one is not None}

    @property
    def watched(self) -> str | None:
        """The role whose attention is measured."""
        if self.layer is None:
            return None
        return self.attention or next(role for role in ("later", "earlier", "reference") if role in self.checkpoints)


Method = Literal["sstoken", "rho1", "cleaning", "attention", "loss", "random"]
Scope = Literal["sample", "batch", "global"]
_SCOPES: dict[str, Scope] = {"rho1": "global", "cleaning": "global"}
_ROUNDINGS = {"cleaning": "floor"}


class SelectTokensSettings(BaseModel):
    """How a number per token becomes a choice of tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    scores: str = "tokens"
    """name of the token table"""
    method: Method = "sstoken"
    rho: Share = 0.6
    """share of the response tokens that is kept"""
    gamma: Share = 0.5
    """of sstoken: weight of the loss difference; the rest is that of the attention"""
    normalise: Literal["minmax", "rank"] = "minmax"
    """of sstoken: how the differences of a sample are brought to [0, 1]"""
    weaker: Role | None = None
    """the checkpoint whose loss is the minuend; None: earlier"""
    stronger: Role | None = None
    """the checkpoint whose loss is taken from it; None: later, or reference for rho1 and cleaning"""
    scope: Scope | None = None
    """which tokens compete with each other; None: all (rho1, cleaning), else those of a sample"""
    batch: Annotated[int, Field(ge=1)] = 48
    """samples of one batch, for scope batch"""
    rounding: Literal["ceil", "floor"] | None = None
    """of the number of tokens kept; None: floor for cleaning, else ceil"""
    sinks: Literal["keep", "leave_out"] = "keep"
    """whether attention on the sinks counts as attention on the prompt; nothing is scaled up where it does not"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of ties, batches, parts and the random control"""
    part: tuple[int, int] | None = None
    """(t, n): only part t of n, from 0, by a hash of the id: for selection that goes on while a model is trained"""

    @model_validator(mode="after")
    def _complete(self) -> SelectTokensSettings:
        check_part(self.part)
        if self.weaker is not None and self.weaker == self.compared[1]:
            raise ValueError("`weaker` and `stronger` are the same checkpoint: all differences would be 0")
        return self

    @property
    def compared(self) -> tuple[Role, Role]:
        """(weaker, stronger)."""
        own: Role = "reference" if self.method in ("rho1", "cleaning") else "later"
        return self.weaker or "earlier", self.stronger or own

    @property
    def among(self) -> Scope:
        """Which tokens compete."""
        return self.scope or _SCOPES.get(self.method, "sample")

    @property
    def rounded(self) -> Literal["ceil", "floor"]:
        """How the number of tokens kept is rounded."""
        return self.rounding or ("floor" if self.method in _ROUNDINGS else "ceil")

    @property
    def uses_losses(self) -> bool:
        """Whether the loss difference is part of the score."""
        return self.method not in ("attention", "random") and not (self.method == "sstoken" and self.gamma == 0)

    @property
    def uses_attention(self) -> bool:
        """Whether the attention on the prompt is part of the score."""
        return self.method == "attention" or (self.method == "sstoken" and self.gamma < 1)


Target = Literal["parquet", "trl", "axolotl", "llamafactory", "olmo", "torchtune", "skyrl"]


class ExportTokensSettings(BaseModel):
    """A selection as files that a trainer reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    corpus: str
    selection: str
    to: Target = "parquet"
    mask: Literal["selected", "control", "all"] = "selected"
    """control: the random tokens, as many in the same scope; all: every response token"""
    out: str | None = None
    """folder; None: in the workspace, below token-exports/"""
    max_tokens: Annotated[int, Field(ge=2)] | None = None
    """longer samples are cut; one without a token to learn before the cut is left out"""


class TokensSettings(ScoreTokensSettings):
    """The section `tokens` of a config: scores, and what is made of them."""

    selections: dict[str, dict[str, Any]] = {}
    """{name: settings of SelectTokensSettings, without corpus and scores}"""
    exports: dict[str, dict[str, Any]] = {}
    """{name: settings of ExportTokensSettings, without corpus}"""
