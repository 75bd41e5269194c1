"""The draws of one identifier, scored: its own sentence, null draws in the same carrier, other orders of its words.

Target and null draws go through the engine in one call and in a random order, so that nothing that depends on place or
batch can tell them apart. Null draws come as they are needed: `first` of them at once; after that, while fewer than h
are as small as the target, twice as many, up to m (scorers.membership.pvalues.sequential_p).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.ghosts.registry import Identifier, Registry
from pipeline.membership.settings import CENTRE, LastKSettings, TestSettings
from scorers.ghosts.generator import nulls, permuted
from scorers.lm.engines import Decoding, Engine
from scorers.membership.lastk import TOKENS_PER_WORD, Guesses, Listed, judged, prompt_of
from scorers.membership.phrases import rows_of
from scorers.membership.pvalues import EXCEEDANCES, exceedances
from scorers.membership.values import PLAIN, measured, tie_band

TARGET, NULL, ORDER, LAST_K, POSITION = "target", "null", "order", "last_k", "position"
DRAWS = pa.schema(
    [
        ("kind", pa.string()),
        ("draw", pa.int32()),
        ("tokens", pa.int32()),
        *((name, pa.float64()) for name in (*PLAIN, "centred_nll")),
        ("logprobs", pa.list_(pa.float32())),
        ("guesses", pa.int64()),
        ("hit", pa.bool_()),
    ]
)
"""kind: target, null or order (other orders of the target's words), with their values; last_k or position with guesses
(g) and hit. draw: number in the stream; of a position, the word. logprobs: of the phrase's tokens."""


@dataclass(frozen=True)
class Plan:
    """How many draws an identifier gets. m: at most; first: at once; orders, centre: as in TestSettings."""

    m: int
    first: int
    orders: int
    centre: int
    order_null: bool
    """whether the permutation null is the one that counts: it then gets m orders"""
    primary: str
    seed: int

    @property
    def sequential(self) -> bool:
        """Whether draws stop once enough of them are as small as the target."""
        return self.first < self.m and not self.order_null


def plan_of(registry: Registry, settings: TestSettings) -> Plan:
    """The draws that a registry's plan and the settings ask for."""
    plan = registry.plan
    whole = plan.unit != "identifier"  # owners are standardised over all of their m + 1 values
    order_null = plan.null == "permutation"
    return Plan(
        m=plan.m,
        first=plan.m if whole or plan.statistic == "ratio_nll" else min(settings.first, plan.m),
        orders=plan.m if order_null else settings.orders,
        centre=settings.centre or (CENTRE if plan.statistic == "centred_nll" else 0),
        order_null=order_null,
        primary=plan.statistic if plan.statistic != "ratio_nll" else "mean_nll",
        seed=plan.seed,
    )


def identifier_values(engine: Engine, registry: Registry, one: Identifier, plan: Plan) -> pa.Table:
    """Rows target, null and order of an identifier (DRAWS)."""
    generator, words = registry.generator, registry.words
    place = np.array(one.places)
    orders = permuted(place, generator, one.id, plan.orders, plan.seed)
    drawn = 0
    tables: list[pa.Table] = []
    while True:
        count = min(plan.m, plan.first if not drawn else 2 * drawn) - drawn
        rows = [(TARGET, -1, place)] if not drawn else [(TARGET, -1 - drawn, place)]
        rows += [
            (NULL, drawn + i, row) for i, row in enumerate(nulls(generator, words, one.id, count, plan.seed, drawn))
        ]
        rows += [(ORDER, i, row) for i, row in enumerate(orders)] if not drawn else []
        tables.append(_scored(engine, registry, one, rows, plan))
        drawn += count
        table = pa.concat_tables(tables)
        if drawn == plan.m or plan.order_null or _decided(table, plan, engine):
            return table


def _decided(table: pa.Table, plan: Plan, engine: Engine) -> bool:
    """Whether the sequential test has seen enough."""
    kind, values = np.array(table["kind"].to_pylist()), table[plan.primary].to_numpy()
    tie = tie_band(engine.record["dtype"], plan.primary, float(np.mean(table["tokens"].to_numpy())))
    return exceedances(float(values[kind == TARGET].max()), values[kind == NULL], tie) >= EXCEEDANCES


def _scored(
    engine: Engine, registry: Registry, one: Identifier, rows: Sequence[tuple[str, int, np.ndarray]], plan: Plan
) -> pa.Table:
    generator, words = registry.generator, registry.words
    phrases, of_row, centred = [], [], []
    for number, (kind, draw, row) in enumerate(rows):
        phrases.append(generator.phrase(words, row))
        of_row.append(number)
        if plan.centre and kind != ORDER:
            stream = f"{one.id}/centre/{draw}"
            for order in permuted(row, generator, stream, plan.centre, plan.seed):
                phrases.append(generator.phrase(words, order))
                of_row.append(number)
    sentences = [generator.sentence(phrase, one.carrier) for phrase in phrases]
    shuffled = np.random.default_rng(np.random.SeedSequence([plan.seed, len(phrases)])).permutation(len(phrases))
    texts = [sentences[i].text for i in shuffled]
    ids, spans = engine.encode(texts), engine.spans(texts)
    found = engine.logprobs(ids)
    parts: list[np.ndarray] = [np.zeros(0)] * len(phrases)
    for i, one_ids, one_spans, values in zip(shuffled, ids, spans, found, strict=True):
        assert len(one_ids) == len(one_spans) == len(values)
        parts[i] = values[rows_of(one_spans, sentences[i].begin, sentences[i].end)]
    values_of = measured(parts, phrases)
    own = np.array(of_row)
    mine = np.array([own.searchsorted(number) for number in range(len(rows))])
    if plan.centre:
        means = values_of["mean_nll"]
        others = np.ones(len(phrases), bool)
        others[mine] = False
        for number, first in enumerate(mine):
            around = means[(own == number) & others]
            centred.append(means[first] - around.mean() if len(around) else None)
    return pa.table(
        {
            "kind": [kind for kind, _, _ in rows],
            "draw": [draw for _, draw, _ in rows],
            "tokens": values_of["tokens"][mine].astype(np.int32),
            **{name: values_of[name][mine] for name in PLAIN},
            "centred_nll": centred or [None] * len(rows),
            "logprobs": [parts[i].astype(np.float32) for i in mine],
            "guesses": [None] * len(rows),
            "hit": [None] * len(rows),
        },
        schema=DRAWS,
    )


def last_words(engine: Engine, registry: Registry, one: Identifier, settings: LastKSettings) -> pa.Table:
    """Rows last_k and position of an identifier (DRAWS): how many guesses, and whether one was right."""
    k, length = registry.plan.last_k, registry.generator.length
    words = registry.generator.cased(list(one.words)).split(" ")
    assert len(words) == length, "words of a list hold no space"
    listed = _listed(registry.words.words)
    asked = [(LAST_K, k, length - k, length)]
    if settings.positions:
        asked += [(POSITION, place, place, place + 1) for place in range(max(1, length - settings.positions), length)]
    prompts: dict[int, str] = {}
    for number, (_, _, shown, stop) in enumerate(asked):
        # A carrier that holds the hidden words by chance cannot ask for them: that counts as a guess that was wrong.
        with contextlib.suppress(ValueError):
            prompts[number] = prompt_of(one.sentence, one.begin, words[:stop], shown)
    many = Decoding(settings.method, k * TOKENS_PER_WORD, settings.replies, settings.temperature, settings.seed)
    replies: dict[int, list[str]] = {}
    for how, mine in (
        (many, [n for n in prompts if n == 0]),
        (Decoding(max_tokens=TOKENS_PER_WORD), [n for n in prompts if n]),
    ):
        replies |= dict(zip(mine, engine.generate([prompts[n] for n in mine], how), strict=True))
    found = [
        (kind, number, judged(replies[n], one.words[shown:stop], listed) if n in replies else Guesses(1, False))
        for n, (kind, number, shown, stop) in enumerate(asked)
    ]
    empty = dict.fromkeys((*PLAIN, "centred_nll", "tokens", "logprobs"), [None] * len(found))
    rows = {
        "kind": [kind for kind, _, _ in found],
        "draw": [draw for _, draw, _ in found],
        "guesses": [guesses.guesses for _, _, guesses in found],
        "hit": [guesses.hit for _, _, guesses in found],
    }
    return pa.table({name: (rows | empty)[name] for name in DRAWS.names}, schema=DRAWS)


@functools.cache
def _listed(words: tuple[str, ...]) -> Listed:
    return Listed(words)
