"""The passes of a selection over all shards: find the cuts, measure what they keep, write a table per shard.

selections/<name>-<hash8>/<corpus>/part-NNNNN-of-MMMMM.parquet, aligned with the documents:

    id          string
    kept        bool
    reason      string, the first of `reasons`; null if kept
    reasons     list of strings, every reason that holds (see rank.Ranking.reasons); empty if kept
    rank_score  float64, the score it was ranked by; null if undefined or if nothing ranks

select(workspace, "best", SelectSettings(by="preselect_score", budget="2B tokens"), pool)
"""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.catalog import shown_stages
from pipeline.errors import ShardsFailed, UserError
from pipeline.execute import Counts, Job, Pool, pending
from pipeline.select.cut import Focus, Found, Group, Place, beyond, find_cuts, look
from pipeline.select.inputs import (
    CorpusInputs,
    ShardInputs,
    check_columns,
    has_held_out,
    mentioned,
    owners_of,
    refuse_missing,
)
from pipeline.select.measure import Cuts, Measure, added, judged, per_source, shown_cuts
from pipeline.select.rank import (
    MOST_RULES,
    Ranking,
    Views,
    check_predicate,
    check_rankable,
    ranked,
    reason_columns,
)
from pipeline.select.rules import Rules
from pipeline.select.settings import SelectSettings
from pipeline.select.spread import answers
from pipeline.shards import file_facts, write_narrow
from pipeline.stage import Stage, saved
from pipeline.workspace import Workspace, checked_name

VERSION, SOURCES_VERSION = 1, 2
"""Raised whenever the same settings select other documents; the second for those with caps or shares per source."""
VOLATILE = re.compile(
    r"\b(random|rand|uuid|gen_random_uuid|now|today|get_current_\w+|current_\w+|nextval)\b", re.IGNORECASE
)

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("kept", pa.bool_()),
        ("reason", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("rank_score", pa.float64()),
    ]
)
_PLACE = [("corpus", pa.string()), ("shard", pa.string())]


def select_stage(workspace: Workspace, name: str, settings: SelectSettings, named: Collection[str] = ()) -> Stage:
    """The stage that a selection makes. `named`: folders of the score stages to use, else the newest of each alias."""
    inputs = _inputs(workspace, settings, named)
    return _stage(name, settings, inputs, _ranking(settings, named, inputs))


def select(
    workspace: Workspace, name: str, settings: SelectSettings, pool: Pool, named: Collection[str] = ()
) -> dict[str, Any]:
    """Make a selection; what is done already is not done again. The caller holds the lock.

    Returns what it kept: `folder`, `unit`, `pool`, `budget`, `cuts` (the limits and scores at which they fall),
    `sources` ({corpus: {source: counts}}) and `missing`. Raises UserError for missing scores, ShardsFailed.
    """
    inputs = _inputs(workspace, settings, named)
    refuse_missing(inputs, settings.allow_missing)
    ranking = _ranking(settings, named, inputs)
    stage = _stage(name, settings, inputs, ranking)
    for one in inputs:
        schema = pa.schema([(c, _type_of(one, c)) for c in one.wanted] + _PLACE)
        check_predicate(workspace, ranking, schema)
    store = workspace.store
    todo = {
        (one.corpus.name, shard): attempt
        for one in inputs
        for shard, attempt in pending(
            workspace, f"{stage.folder}/{one.corpus.name}", [s for s in one.corpus.shards if s in one.corpus.done]
        )
    }
    record = saved(store, stage.folder)
    if not todo and record is not None and "result" in record["info"]:
        print(f"select {name}: nothing to do, the selection is there", file=sys.stderr)
        return record["info"]["result"]
    shards = [shard for one in inputs for shard in one.shards()]
    cuts, result = _decide(pool, settings, ranking, shards)
    result = {"folder": stage.folder} | result | {"missing": stage.fields.get("missing", {})}
    if record is None:
        stage.save(store)
    for one in inputs:
        store.sweep(f"{stage.folder}/{one.corpus.name}")
    jobs = [
        Job(
            workspace,
            shard.shard,
            ((f"{stage.folder}/{shard.corpus}", todo[shard.corpus, shard.shard]),),
            _Write(shard, ranking, cuts),
        )
        for shard in shards
        if (shard.corpus, shard.shard) in todo
    ]
    rows = pool.run(jobs, _write, f"select {name}")
    assert len(rows) == len(jobs), f"select {name}: {len(jobs)} shards to write, {len(rows)} tried"
    failed = {f"{row.stage}/{row.shard}": row.error or "" for row in rows if not row.done}
    if failed:
        raise ShardsFailed(f"select {name}", failed, len(rows))
    stage.save(store, result=result)
    return result


def _inputs(workspace: Workspace, settings: SelectSettings, named: Collection[str]) -> list[CorpusInputs]:
    """The columns that a selection reads of each corpus. Raises UserError for one that is not there."""
    inputs = []
    for corpus in workspace.chosen_corpora(dict.fromkeys(settings.corpora)):
        owners = owners_of(corpus, named)
        needed = ([settings.by] if settings.by else []) + (
            [settings.unit] if settings.unit not in (None, "documents") else []
        )
        check_columns(corpus, owners, needed[:1] if settings.by else [], "by")
        check_columns(corpus, owners, needed[1:] if settings.by else needed, f"a budget in {settings.unit}")
        rules = rules_of(settings)
        check_columns(corpus, owners, rules.columns, "limits")
        for column in rules.reasons:
            check_rankable(column, _type_of(CorpusInputs(corpus, owners, ()), column))
        wanted = ["source", *needed, *rules.columns]
        if settings.where is not None:
            wanted += mentioned(settings.where, owners)
        # For the summary; a shard without them is no reason to refuse.
        lengths = [
            c
            for c in ("tokens", "chars")
            if (owner := owners.get(c)) is not None and (not owner.missing() or c in wanted)
        ]
        held = ["held_out"] if has_held_out(corpus) else []
        inputs.append(CorpusInputs(corpus, owners, tuple(dict.fromkeys([*wanted, *lengths, *held]))))
        if settings.by:
            check_rankable(settings.by, _type_of(inputs[-1], settings.by))
    return inputs


def _type_of(one: CorpusInputs, column: str) -> pa.DataType:
    from pipeline.catalog import document_schema

    owner = one.owners[column]
    return (document_schema(one.corpus) if owner is None else owner.schema).field(column).type


def _ranking(settings: SelectSettings, named: Collection[str], inputs: Iterable[CorpusInputs]) -> Ranking:
    views = settings.where is not None and re.search(r"\b(select|from)\b", settings.where, re.IGNORECASE) is not None
    if settings.where and (found := VOLATILE.search(settings.where)):
        raise UserError(
            f"where: {found[0]}() gives another answer each time, so the selection could not be made again; "
            f"to draw at random use `random` with a seed"
        )
    shown = None
    if views:
        stages = {stage.folder for one in inputs for stage in shown_stages(one.corpus, named).values()}
        shown = Views(tuple(one.corpus.name for one in inputs), tuple(sorted(stages)), secrets.token_hex(4))
    return Ranking(
        by=settings.by,
        ascending=settings.ascending,
        random=settings.random,
        undefined=settings.undefined,
        seed=settings.seed,
        unit=settings.unit,
        where=settings.where,
        views=shown,
        held_out=settings.held_out,
        rules=rules_of(settings),
    )


def rules_of(settings: SelectSettings) -> Rules:
    """The limits of a selection. Raises UserError for too many."""
    rules = Rules.of(settings.gopher, settings.limits, settings.language, settings.languages)
    if len(rules.reasons) > MOST_RULES:
        raise UserError(f"limits: {len(rules.reasons)} columns; at most {MOST_RULES}: combine some in `where`")
    return rules


def _stage(name: str, settings: SelectSettings, inputs: Sequence[CorpusInputs], ranking: Ranking) -> Stage:
    fields: dict[str, Any] = {
        "version": SOURCES_VERSION if settings.caps or settings.shares else VERSION,
        "settings": settings.model_dump(mode="json", exclude={"allow_missing", "corpora"}),
        "corpora": {one.corpus.name: one.corpus.hash for one in inputs},
        "scores": {one.corpus.name: {a: s.folder for a, s in sorted(one.stages.items())} for one in inputs},
    }
    if ranking.views is not None:
        fields["views"] = list(ranking.views.stages)
        if "selection" in (settings.where or "").lower():
            # A subquery may look at other selections: a later one of the same name makes this one stale.
            newest = {r["name"]: folder for folder, r in inputs[0].corpus.workspace.stages("selections").items()}
            fields["views"] += [folder for other, folder in sorted(newest.items()) if other != name]
    if missing := refuse_missing(inputs, allow=True):
        fields["missing"] = missing
    return Stage("select", checked_name(name, "selection"), "selections", fields)


@dataclass(frozen=True)
class _Look:
    """One round over one shard; the totals of its pool come along with the first."""

    ranking: Ranking
    focus: Mapping[Group, Focus]
    caps: Mapping[Group, Place | None]

    def __call__(self, inputs: ShardInputs) -> tuple[int, dict[Group, Found]]:
        shard = ranked(inputs, self.ranking)
        candidates = shard.eligible
        candidates &= ~beyond(shard, self.ranking, candidates, self.caps)
        return int(shard.amount[shard.pooled].sum()), look(shard, self.ranking, candidates, self.focus)


def _decide(
    pool: Pool, settings: SelectSettings, ranking: Ranking, shards: list[ShardInputs]
) -> tuple[Cuts, dict[str, Any]]:
    """Find all cuts and measure what they keep."""
    total = 0

    def rounds(
        caps: Mapping[Group, Place | None],
    ) -> Callable[[Mapping[Group, Focus]], Iterable[Mapping[Group, Found]]]:
        def one(focus: Mapping[Group, Focus]) -> Iterable[Mapping[Group, Found]]:
            nonlocal total
            total = 0
            for units, found in answers(pool, _Look(ranking, focus, caps), shards):
                total += units
                yield found

        return one

    caps: dict[Group, Place | None] = {}
    cap_limits: dict[Group, int] = {}
    if settings.caps:
        caps = find_cuts(rounds({}), lambda: settings.caps_of(total), list(settings.caps))
        cap_limits = settings.caps_of(total)
    budget: dict[Group, Place | None] = {}
    limits: dict[Group, int] = {}
    if settings.budget:
        groups: list[Group] = [*settings.shares, None]
        budget = find_cuts(rounds(caps), lambda: settings.shares_of(total), groups)
        limits = settings.shares_of(total)
    cuts = Cuts(caps, budget)
    sources: dict[str, dict[str, dict[str, Any]]] = {}
    for corpus, counts in answers(pool, Measure(ranking, cuts), shards):
        for source, more in counts.items():
            added(sources.setdefault(corpus, {}).setdefault(source, {}), more, ranking)
    ordered = {corpus: dict(sorted(sources[corpus].items())) for corpus in sorted(sources)}
    return cuts, {
        "unit": settings.unit,
        "pool": total if settings.unit else None,
        "budget": settings.budget_of(total),
        "cuts": [
            *shown_cuts("cap", caps, cap_limits, ordered, settings),
            *shown_cuts("budget", budget, limits, ordered, settings),
        ],
        "sources": ordered,
    }


@dataclass(frozen=True)
class _Write:
    inputs: ShardInputs
    ranking: Ranking
    cuts: Cuts


def _write(job: Job) -> dict[str, Counts | Exception]:
    """Write one shard's selection table."""
    task: _Write = job.task
    (folder, _) = job.outputs[0]
    shard = ranked(task.inputs, task.ranking)
    reasons = judged(shard, task.ranking, task.cuts)
    kept = reasons == 0
    reason, every = reason_columns(reasons, task.ranking.reasons)
    table = pa.table([shard.ids, pa.array(kept), reason, every, shard.score], schema=SCHEMA)
    with job.workspace.store.writing(f"{folder}/{job.shard}.parquet") as path:
        write_narrow(path, table)
        facts = file_facts(path)
    inside, outside = per_source(shard, kept).tolist(), per_source(shard, ~kept).tolist()
    sources = [
        {"source": name, "rows_in": n + m, "rows_out": n, "rejected": m}
        for name, n, m in sorted(zip(shard.source_names, inside, outside, strict=True))
    ]
    counted = {item["values"]: item["counts"] for item in pc.value_counts(reason.drop_null()).to_pylist()}
    return {
        folder: Counts(
            rows_in=len(kept),
            rows_out=int(kept.sum()),
            rejected=int((~kept).sum()),
            sources=sources,
            reasons=[{"reason": name, "rows": counted[name]} for name in task.ranking.reasons if name in counted],
            **facts,
        )
    }
