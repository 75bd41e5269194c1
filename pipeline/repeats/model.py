"""What a language model does with repeats: does it repeat what repeats, and does what it writes repeat itself?

    folder = measure_model(workspace, corpus, "runs/best-1a2b3c4d/checkpoints/step-00005000", ModelSettings(), print)

    model-repeats/<corpus>-<hash8>/
      curves.parquet    copy, tp, ip, wr, tokens, sentences (scorers/lm/repeats.py)
      measures.parquet  what, measure, value, texts (scorers/repetition/generated.py)
      texts.parquet     what, id, prefix, text, rep_1 ... rep_r of each text that was written

`what` is `human` (how the documents go on themselves), `greedy`, `nucleus`, and `forced` for measures under teacher
forcing. Documents are drawn by a hash of seed and id; the held-out split where the corpus has one, for a model should
not be asked about what it was trained on. Files that are there are not made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import UserError
from pipeline.execute import Counts, next_attempt, write_row
from pipeline.shards import write_narrow
from pipeline.stage import Stage
from pipeline.workspace import Corpus, Workspace

if TYPE_CHECKING:
    from scorers.lm.model import LanguageModel

VERSION = 1
PARENT = "model-repeats"
WHOLE = "all"
"""What the one row of the stage's ledger speaks of."""
Positive = Annotated[int, Field(ge=1)]


class ModelSettings(BaseModel):
    """What is asked of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: Positive = 200
    """drawn from the corpus; texts under teacher forcing, and prefixes to write on from"""
    copies: Annotated[int, Field(ge=1)] = 32
    """repeats of each sentence, as far as the model's context goes (DITTO: 100)"""
    shortest: Positive = 4
    longest: Positive = 60
    """tokens of a sentence that is repeated; one sentence of each document"""
    prefix: Positive = 50
    continuation: Positive = 100
    """tokens that the model reads, and writes"""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    context: Positive | None = None
    """tokens under teacher forcing, at most; None: 512, or the model's limit if that is less"""
    seed: Annotated[int, Field(ge=0)] = 0
    held_out: bool | None = None
    """which split to draw from; None: the held-out one if there is one, else all"""
    dtype: Literal["float32", "bfloat16"] = "float32"


@dataclass(frozen=True)
class Found:
    """Tables as the module says."""

    curves: pa.Table
    measures: pa.Table
    texts: pa.Table


def measure_model(
    workspace: Workspace,
    corpus: Corpus,
    model: str,
    settings: ModelSettings,
    say: Callable[[str], None],
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> str:
    """Measure and write what is not written yet; the folder, relative to the workspace. The caller holds the lock."""
    from scorers.lm.files import check_folder, identity, model_folder
    from scorers.lm.model import engine_record, open_model

    folder = model_folder(model, None, trust_remote_code)
    check_folder(folder, trust_remote_code)
    stage = Stage(
        kind="model-repeats",
        name=corpus.name,
        parent=PARENT,
        fields={
            "version": VERSION,
            "corpus": corpus.hash,
            "model": identity(folder, trust_remote_code),
            "engine": engine_record(settings.dtype, device, "sdpa"),
            "settings": settings.model_dump(mode="json"),
        },
        info={"model": model},
    )
    store = workspace.store
    row = workspace.rows(stage.folder).get(WHOLE)
    if row is not None and row.done:
        return stage.folder
    begun, number = time.time(), next_attempt(workspace, stage.folder, WHOLE)
    documents = draw(corpus, settings)
    stage.save(store)
    try:
        with open_model(model, dtype=settings.dtype, device=device, trust_remote_code=trust_remote_code) as opened:
            found = measure(opened, documents, settings, say)
    except Exception as error:
        write_row(workspace, stage.folder, WHOLE, number, begun, error)
        raise
    for name, table in (("curves", found.curves), ("measures", found.measures), ("texts", found.texts)):
        with store.writing(f"{stage.folder}/{name}.parquet") as path:
            write_narrow(path, table)
    size = sum(len(text.encode()) for _, text in documents)
    write_row(workspace, stage.folder, WHOLE, number, begun, Counts(len(documents), len(documents), bytes_in=size))
    return stage.folder


def draw(corpus: Corpus, settings: ModelSettings) -> list[tuple[str, str]]:
    """(id, text) of the documents, in order of their draw. Raises UserError if there are none."""
    from pipeline import views
    from pipeline.catalog import document_schema

    split = "held_out" in document_schema(corpus).names
    if settings.held_out and not split:
        raise UserError(f"corpus {corpus.name!r} has no held-out split; leave --held-out out, or ingest with one")
    with views.opened(corpus.workspace, [corpus.name]) as connection:

        def rows(where: str) -> list[tuple[str, str]]:
            # The ids are drawn first: text is read for those alone.
            return connection.execute(
                f"""WITH drawn AS (SELECT id, md5('{settings.seed} ' || id) AS place FROM documents WHERE {where}
                    ORDER BY place, id LIMIT {settings.documents})
                SELECT id, text FROM documents JOIN drawn USING (id) ORDER BY place, id"""
            ).fetchall()

        if not split or settings.held_out is False:
            found = rows("NOT coalesce(held_out, false)" if split else "true")
        else:
            found = rows("held_out") or (rows("true") if settings.held_out is None else [])
    if not found:
        raise UserError(f"corpus {corpus.name!r} has no documents to draw from; look at its shards with `tamis status`")
    return found


def measure(
    model: LanguageModel, documents: Sequence[tuple[str, str]], settings: ModelSettings, say: Callable[[str], None]
) -> Found:
    """All measures of an open model."""
    from scorers.lm.repeats import continuations, repeated_curves, teacher_forced
    from scorers.lm.tokens import tokenize
    from scorers.repetition.generated import forced_measures

    texts = [text for _, text in documents]
    limit = model.context or settings.prefix + settings.continuation + 1
    needed = settings.prefix + settings.continuation + (model.bos is not None)
    if needed > limit:
        raise UserError(
            f"{needed} tokens of prefix and continuation, but the model has {limit} positions; give a smaller "
            "--prefix or --continuation"
        )
    pairs = sentence_pairs(model, texts, settings)
    if not pairs:
        raise UserError(
            f"none of {len(texts)} documents has two neighbouring sentences, the second of {settings.shortest} "
            f"to {settings.longest} tokens; draw more --documents, or from another corpus"
        )
    say(f"{len(pairs)} sentences, up to {settings.copies} repeats")
    curves = repeated_curves(model, pairs, settings.copies)
    if len(curves.tp) < 2:
        raise UserError("no sentence fits twice into the model's context; give a smaller --longest")

    tokens = tokenize(model.tokenizer, model.bos, texts)
    context = min(settings.context or 512, model.context or 512)
    own = [tokens.ids[a:b] for a, b in zip(tokens.offsets[:-1], tokens.offsets[1:], strict=True)]
    say(f"{len(own)} documents under teacher forcing, up to {context} tokens of each")
    forced = teacher_forced(model, [ids[:context] for ids in own])
    targets = np.concatenate([ids[:context] for ids in own])
    rows = [
        {"what": "forced", "measure": name, "value": value, "texts": len(own)}
        for name, value in forced_measures(targets, forced.choice, forced.offsets).items()
    ]

    lead = int(model.bos is not None)
    long = [n for n, ids in enumerate(own) if len(ids) >= needed]
    if not long:
        say(f"no document has {needed} tokens: nothing is written on; give a smaller --prefix or --continuation")
    prefixes = [own[n][lead : lead + settings.prefix] for n in long]
    written = {"human": [own[n][lead + settings.prefix : needed] for n in long]}
    for what, top_p in (("greedy", None), ("nucleus", settings.top_p)):
        say(f"{len(long)} texts of {settings.continuation} tokens, {what}")
        written[what] = continuations(model, prefixes, settings.continuation, top_p, settings.seed)
    ids = [documents[n][0] for n in long]
    return Found(_curves(curves), *_written(model, written, prefixes, ids, rows))


def _curves(curves: Any) -> pa.Table:
    return pa.table(
        {
            "copy": pa.array(np.arange(len(curves.tp)), pa.int32()),
            "tp": curves.tp,
            "ip": pa.array(curves.ip, from_pandas=True),
            "wr": curves.wr,
            "tokens": curves.tokens,
            "sentences": curves.sentences,
        }
    )


def _written(
    model: LanguageModel,
    written: dict[str, list[np.ndarray]],
    prefixes: list[np.ndarray],
    ids: list[str],
    rows: list[dict[str, Any]],
) -> tuple[pa.Table, pa.Table]:
    """Measures, those in `rows` first, and texts."""
    from scorers.repetition.generated import SIZES, pooled, text_measures

    columns: dict[str, list[Any]] = {name: [] for name in ("what", "id", "prefix", "text")}
    for what, made in written.items():
        own = [text_measures(one) for one in made]
        for name, prefix, one, measures in zip(ids, prefixes, made, own, strict=True):
            told = {"what": what, "id": name, "prefix": _text(model, prefix), "text": _text(model, one)}
            for key, value in (told | measures).items():
                columns.setdefault(key, []).append(value)
        if own:
            found = {key: float(np.mean([one[key] for one in own])) for key in own[0]}
            found |= {f"pooled_rep_{n}": pooled(made, n) for n in SIZES}
            found["distinct_tokens"] = float(len(np.unique(np.concatenate(made))))
            rows += [{"what": what, "measure": key, "value": v, "texts": len(own)} for key, v in found.items()]
    measures = pa.Table.from_pylist(
        rows,
        pa.schema([("what", pa.string()), ("measure", pa.string()), ("value", pa.float64()), ("texts", pa.int64())]),
    )
    return measures, pa.table(columns)


def _text(model: LanguageModel, tokens: np.ndarray) -> str:
    return model.tokenizer.decode(tokens.tolist(), skip_special_tokens=False)


def sentence_pairs(
    model: LanguageModel, texts: Sequence[str], settings: ModelSettings
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Token ids of (sentence before, sentence), one drawn from each document that has any."""
    from scorers.abbreviations import abbreviation_keys
    from scorers.sentences import SENTENCE, unit_ends
    from scorers.texts import Texts

    made = Texts.from_arrow(pa.array(texts, pa.large_string()))
    words = made.words
    ends = unit_ends(made.data, made.offsets, words, abbreviation_keys("en")) & SENTENCE != 0
    found = []
    for doc, text in enumerate(texts):
        first, last = words.doc_offsets[doc], words.doc_offsets[doc + 1]
        stops = np.flatnonzero(ends[first:last]) + 1
        starts = np.append(0, stops[:-1])
        data = text.encode()
        spans = [
            data[words.starts[first + a] : words.ends[first + b - 1]].decode()
            for a, b in zip(starts, stops, strict=True)
        ]
        # One line each: a copy begins behind a space, as a sentence does within its paragraph.
        encoded = model.tokenizer.encode_batch([" " + " ".join(s.split()) for s in spans], add_special_tokens=False)
        tokens = [np.array(one.ids, np.int64) for one in encoded]
        fit = [n for n in range(1, len(tokens)) if settings.shortest <= len(tokens[n]) <= settings.longest]
        if fit:
            n = fit[int(np.random.default_rng([settings.seed, doc]).integers(len(fit)))]
            found.append((tokens[n - 1][-settings.longest :], tokens[n]))
    return found


def table_of(workspace: Workspace, folder: str) -> str:
    """Curves at some copies, and measures, as Markdown."""
    read = lambda name: pq.read_table(workspace.store.open(f"{folder}/{name}.parquet")).to_pylist()  # noqa: E731
    curves, measures = read("curves"), read("measures")
    shown = sorted({n for n in (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 99, len(curves) - 1) if n < len(curves)})
    lines = ["| copy | TP | IP | WR | sentences |", "| --- | --- | --- | --- | --- |"]
    for n in shown:
        row = curves[n]
        ip = "" if row["ip"] is None else f"{row['ip']:.3f}"
        lines.append(f"| {n} | {row['tp']:.3f} | {ip} | {row['wr']:.3f} | {row['sentences']} |")
    names = ["rep_1", "rep_2", "rep_3", "rep_4", "rep_w", "rep_r"]
    values = {(row["what"], row["measure"]): row for row in measures}
    written = [what for what in ("human", "greedy", "nucleus") if (what, names[0]) in values]
    if written:
        lines += ["", f"| text | {' | '.join(names)} | texts |", "| --- " * (len(names) + 2) + "|"]
        for what in written:
            cells = " | ".join(f"{values[what, name]['value']:.3f}" for name in names)
            lines.append(f"| {what} | {cells} | {values[what, names[0]]['texts']} |")
    spans = sorted({int(name.partition("/")[2]) for what, name in values if what == "forced" and "/" in name})
    lines += ["", "| teacher forcing, l | rep/l | wrep/l | human_rep/l |", "| --- " * 4 + "|"]
    for span in spans:
        cells = " | ".join(
            f"{values['forced', f'{name}/{span}']['value']:.3f}" for name in ("rep", "wrep", "human_rep")
        )
        lines.append(f"| {span} | {cells} |")
    return "\n".join(lines) + "\n"
