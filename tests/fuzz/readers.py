"""Targets of the files that Tamis reads besides documents: models, configs, registries, tables, and its own records."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import scorers.fasttext
from pipeline import config, ledger
from pipeline.config_errors import parsed
from pipeline.ghosts import draw, registry
from pipeline.import_scores import import_scores
from pipeline.label.steps import read_judge
from pipeline.membership.documents import Split, read_split, read_texts
from pipeline.preselect.panel import read_panel
from pipeline.shards import batches, read_narrow
from pipeline.stage import Stage, saved
from pipeline.storage import Store
from pipeline.trainer.settings import TrainSettings
from pipeline.yaml_file import changed, read_yaml
from scorers import lengths
from scorers.fasttext import train as training
from scorers.ghosts.windows import read_known
from scorers.texts import Texts
from tests.fuzz.ingest import ROWS, jsonl
from tests.fuzz.target import Finding, Target, folder
from tests.registries import drawn
from tests.workspaces import small

ROOT = Path(__file__).parents[2]
TEXTS = pa.array(["a tamis is a drum sieve", "", "x y z " * 20], pa.large_string())
BETWEEN = b"\0\0"
TINY = {"dim": 2, "bucket": 300, "word_ngrams": 2, "epoch": 1}
ALIASES = b"a: &a [x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nscores: [*c, *c]\n"


def from_file(name: str, read: Callable[[str], Any]) -> Callable[[bytes], None]:
    """A target that reads a file of this name."""

    def run(data: bytes) -> None:
        with folder() as place:
            (place / name).write_bytes(data)
            read(str(place / name))

    return run


def _score(path: str) -> None:
    model = scorers.fasttext.load(Path(path))
    for column in model.probabilities(TEXTS).columns:
        for value in column.drop_null().to_pylist():
            if not 0 <= value <= 1:
                raise Finding(f"a probability of {value}")


def _models() -> list[bytes]:
    import fasttext

    made = []
    with folder() as place:
        rows = [
            (str(i % 2), text) for i, text in enumerate(["a b c a", "d e f", "a b", "d f e d", "g h </s> é", "a"] * 3)
        ]
        for name, more in (("words", {}), ("subwords", {"minn": 2, "maxn": 3, "loss": "hs"})):
            training.train(rows, place / f"{name}.bin", training.TrainSettings(**TINY | more))
            made.append((place / f"{name}.bin").read_bytes())
        model = fasttext.load_model(str(place / "words.bin"))
        model.quantize(qnorm=True, dsub=1)
        model.save_model(str(place / "words.ftz"))
        made.append((place / "words.ftz").read_bytes())
    return made


def _tokenize(path: str) -> None:
    lengths.load(lengths.Settings(tokenizer=path), {"tokenizer": path}, "lengths").score(Texts.from_arrow(TEXTS))


def _tokenizers() -> list[bytes]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    made = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "[UNK]": 3}, [("a", "b")], unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(" ", "isolated")
    made.decoder = decoders.BPEDecoder()
    return [made.to_str().encode(), Tokenizer(models.WordLevel({"a": 0}, "a")).to_str().encode()]


def _configs(*names: str) -> Callable[[], list[bytes]]:
    return lambda: [
        *((ROOT / "configs" / name).read_bytes() for name in names),
        ALIASES,
        b"? [a]\n: b\n",
    ]


def _registries() -> list[bytes]:
    with folder() as place:
        settings = draw.DrawSettings(owners=("ann",), count=2, reserve=1, element="(42)")
        made = drawn(f"{place}/owners.parquet", settings)
        commitment = Path(draw.commit_path(made.path)).read_bytes()
        return [Path(made.path).read_bytes(), commitment + BETWEEN + Path(registry.secret_path(made.path)).read_bytes()]


def _windows() -> list[bytes]:
    from scorers.ghosts.windows import windows_of

    with folder() as place:
        (place / "r.parquet").write_bytes(_registries()[0])
        pq.write_table(windows_of(f"{place}/r.parquet"), place / "w.parquet")
        return [(place / "w.parquet").read_bytes(), (place / "r.parquet").read_bytes()]


def _commitment(data: bytes) -> None:
    commitment, _, secret = data.partition(BETWEEN)
    with folder() as place:
        (place / "r.commit.json").write_bytes(commitment)
        committed = draw.read_commit(f"{place}/r.parquet")
        (place / "r.secret").write_bytes(secret)
        draw.read_secret(f"{place}/r.secret", committed)


def _table(name: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        with folder() as place:
            workspace = small(str(place / "w"))
            (place / name).write_bytes(data)
            import_scores(workspace, workspace.corpus("web"), "mine", str(place / name))

    return run


def _tables() -> list[bytes]:
    made = []
    for columns in ({"id": ["w00", "w01"], "x": [0.5, None]}, {"id": ["w00"], "x": [["a"]], "y": [{"z": 1}]}):
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file)
        made.append(file.getvalue())
    return made


def _narrow(data: bytes) -> None:
    with folder() as place:
        (place / "t.parquet").write_bytes(data)
        store = Store(str(place))
        read_narrow(store, "t.parquet")
        for batch in batches(store, "t.parquet", ["id", "text"]):
            batch.validate()


def _documents() -> list[bytes]:
    with folder() as place:
        workspace = small(str(place / "w"))
        corpus = workspace.corpus("web")
        return [workspace.store.read_bytes(corpus.file(shard)) for shard in corpus.shards[:1]]


def _records(data: bytes) -> None:
    """A stage.json, a row of the ledger and a segment of it, whichever the bytes are."""
    with folder() as place:
        store = Store(str(place))
        for name in ("scores/web/x/stage.json", "ledger/a/p.1.json", "ledger/b/segment-x.parquet"):
            store.write_bytes(name, data)
        found = 0
        for read in (
            lambda: saved(store, "scores/web/x"),
            lambda: ledger.read(store, "a"),
            lambda: ledger.read(store, "b"),
        ):
            try:
                read()
                found += 1
            except ValueError:
                continue
        if not found:
            raise ValueError("none of the three")


def _record_seeds() -> list[bytes]:
    with folder() as place:
        store = Store(str(place))
        row = ledger.Row("a", "p", 1, "done", rows_in=2, rows_out=1, rejected=1, reasons=[{"reason": "x", "rows": 1}])
        ledger.write(store, row)
        attempt = store.read_bytes("ledger/a/p.1.json")
        ledger.compact(store, "a")
        (segment,) = store.sizes("ledger/a")
        made = Stage("score", "x", "scores/web", {"settings": {"a": 1}})
        made.save(store)
        return [attempt, store.read_bytes(f"ledger/a/{segment}"), store.read_bytes(f"{made.folder}/stage.json")]


def _template(data: bytes) -> None:
    from pipeline.trainer.template import compiled

    made = compiled(data.decode("utf-8", "replace"), (("eos_token", "</s>"),))
    made.render([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}], [False, True])


TEMPLATE = (
    b"{% for m in messages %}<|{{ m.role }}|>{{ m['content'] | trim }}{{ eos_token }}\n{% endfor %}"
    b"{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPLIT = {"salt": "y", "published": ["a"], "held_out": ["b"]}
SPLIT = _SPLIT | {"commitment": Split("", "y", ("a",), ("b",)).made()}

READERS = (
    Target("fasttext", "fastText models (.bin, .ftz): loaded, and texts scored", from_file("m.bin", _score), _models),
    Target(
        "config",
        "configs of `tamis run`",
        from_file("c.yaml", config.load),
        _configs("demo/demo.yaml", "preselect-small.yaml", "released/dclm.yaml"),
        (
            b"corpora:",
            b"scores:",
            b"scorer:",
            b"selections:",
            b"model:",
            b"&a ",
            b"*a",
            b"<<: ",
            b"!!",
            b"? ",
            b"{",
            b"[",
        ),
    ),
    Target(
        "training",
        "configs of `tamis train`",
        from_file(
            "c.yaml", lambda path: parsed(TrainSettings, changed(read_yaml(path, "config"), ["seed=1"], "--set"), path)
        ),
        _configs("train-small/train.yaml"),
        (b"data:", b"model:", b"methods:", b"optimizer:", b"evaluation:"),
    ),
    Target("panel", "panels of PreSelect", from_file("p.yaml", read_panel), _configs("preselect-paper-panel.yaml")),
    Target(
        "judge",
        "files of judges",
        from_file("j.yaml", read_judge),
        lambda: [b"rubric: good\njudges:\n- {name: a, model: m}\nway: pointwise\nrounds: 1\n", ALIASES],
    ),
    Target("registry", "registries of ghosts", from_file("r.parquet", registry.read), _registries, (b"PAR1",)),
    Target(
        "windows",
        "windows files and registries, as the finder reads them",
        from_file("w.parquet", read_known),
        _windows,
    ),
    Target("commitment", "commitments and secrets of a draw", _commitment, lambda: _registries()[1:]),
    Target(
        "words",
        "word lists",
        from_file("w.txt", draw.load_words),
        lambda: [b"abacus\nabdomen\nzoo\n" * 3, b"11111 abacus\n11112 zoo\n"],
    ),
    Target(
        "tokenizer", "tokenizer.json: loaded, and texts encoded", from_file("tokenizer.json", _tokenize), _tokenizers
    ),
    Target(
        "template",
        "chat templates: compiled and rendered",
        _template,
        lambda: [TEMPLATE],
        (b"{% ", b" %}", b"{{ ", b" }}"),
    ),
    Target(
        "labelled",
        "labelled rows of a classifier",
        from_file(
            "r.jsonl", lambda path: [training._training_line(n, row) for n, row in training._read_jsonl(Path(path))]
        ),
        lambda: [jsonl([{"label": "1", "text": "a </s> __label__x"}])],
    ),
    Target("texts", "documents of a membership test", from_file("t.jsonl", read_texts), lambda: [jsonl(ROWS[:2])]),
    Target(
        "split", "splits of a membership test", from_file("s.json", read_split), lambda: [json.dumps(SPLIT).encode()]
    ),
    Target("scores", "tables of scores made elsewhere (Parquet)", _table("t.parquet"), _tables, (b"PAR1",)),
    Target("scores-csv", "tables of scores made elsewhere (CSV)", _table("t.csv"), lambda: [b"id,x\nw00,0.5\nw01,\n"]),
    Target("shard", "document shards and score tables of a workspace", _narrow, _documents, (b"PAR1",)),
    Target("records", "stage.json, rows and segments of the ledger", _records, _record_seeds),
)
