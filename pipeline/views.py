"""The workspace as DuckDB views, built from explicit file lists out of the ledger, never from globs.

    documents        every column, `corpus` and `shard`
    <alias>          one per score stage: id, corpus, shard and its columns
    scored           documents without text, joined with all score stages; one row per document
    selection        the newest selection of each name: selection, corpus, shard, id, kept, reason, reasons, ...
    rejects          what ingest turned away, and why
    shard_runs       the ledger: one row per shard and attempt
    stages           what made each output: kind, name, hash, when, and the settings as JSON
    training, training_sets, comparisons        curves of the training runs (pipeline.training_views)
    tokens, token_selections       losses, attention and choice of every token (pipeline.token_views)
    preselect_sample, preselect_losses, preselect_strengths   (pipeline.preselect_views)
    judge_evidence   what labels say of their judges (pipeline.label.views)
    membership, membership_draws   (pipeline.membership_views)
    insertions, ghost_runs, ghost_recurring   identifiers put in, and what was found (pipeline.ghosts.views)
    repeat_spectrum, repeat_classes, repeat_sources, repeat_shared, repeat_spans, repeat_units,
    repeat_unit_counts   (pipeline.repeats_views)
    score_stats, score_histogram   distributions of every score (pipeline.distributions)

    with opened(Workspace("workspace")) as connection:
        connection.sql("SELECT corpus, avg(preselect_score) FROM scored GROUP BY ALL").show()

A file list is a SQL variable, so that ten thousand names are not parsed again by every view that reads them.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import duckdb
import orjson
import pyarrow as pa

from pipeline import ledger, membership_views, preselect_views, repeats_views, sandbox, token_views, training_views
from pipeline.catalog import HIDDEN, document_schema, shown_stages
from pipeline.distributions import TOKENS, distribution_views, quoted, text
from pipeline.ghosts import views as ghost_views
from pipeline.label import views as label_views
from pipeline.sandbox_time import close
from pipeline.shards import open_parquet
from pipeline.stage import saved
from pipeline.workspace import Corpus, Workspace

FIXED = (
    *("documents", "scored", "selection", "rejects", "shard_runs", "stages", "score_stats", "score_histogram"),
    *training_views.VIEWS,
    *preselect_views.VIEWS,
    *label_views.VIEWS,
    *membership_views.VIEWS,
    *ghost_views.VIEWS,
    *repeats_views.VIEWS,
    *token_views.VIEWS,
)
"""Views of every workspace; an alias of such a name goes by `<alias>_1`, as a second column of one name does."""
PLACE = ("id", "corpus", "shard")
SINGLE = (*PLACE, "source", TOKENS)
"""Columns of `single.<alias>` that are not scores."""
NUMBERS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
EMPTY = {
    "documents": {"id": "VARCHAR", "text": "VARCHAR", "source": "VARCHAR"},
    "scored": {"id": "VARCHAR", "source": "VARCHAR"},
    "selection": {
        "id": "VARCHAR",
        "selection": "VARCHAR",
        "kept": "BOOLEAN",
        "reason": "VARCHAR",
        "reasons": "VARCHAR[]",
    },
    "rejects": {"id": "VARCHAR"}
    | dict.fromkeys(("source", "path"), "VARCHAR")
    | {"position": "BIGINT"}
    | dict.fromkeys(("reason", "detail", "sample"), "VARCHAR"),
}
"""Columns of a view that has no file behind it yet."""
STAGES = pa.schema([(name, pa.string()) for name in ("folder", "kind", "name", "hash", "created", "tamis", "fields")])
RUNS = """
SELECT split_part(stage, '/', 1) AS kind,
  split_part(stage, '/', CASE WHEN starts_with(stage, 'selections/') THEN 3 ELSE 2 END) AS corpus,
  *, attempt = max(attempt) OVER (PARTITION BY stage, shard) AS latest
FROM ledger"""


@dataclass(frozen=True)
class Table:
    """Parquet files of one corpus and one schema. `columns`: {name in SQL: (position in the file, type)}."""

    variable: str
    corpus: str
    columns: dict[str, tuple[int, pa.DataType]]

    def select(self, **extra: str) -> str:
        """A SELECT of id, corpus, shard, the columns, and more columns by name."""
        # Columns are named by position: SQL's names are blind to case, those of Parquet are not.
        positions = ", ".join(f"c{i}" for i in range(len(self.columns)))
        chosen = {name: f"c{i}" for name, (i, _) in self.columns.items() if name != "id"} | extra
        return (
            f"SELECT c{self.columns['id'][0]} AS id, {text(self.corpus)} AS corpus, "
            f"parse_filename(filename, true) AS shard{_listed(chosen)} "
            f"FROM read_parquet(getvariable('{self.variable}')) AS t({positions})"
        )

    def placed(self) -> str:
        """The same with `_row`, the row in its shard.

        Score tables have the ids of their documents in the same order (checked when they are written), so joining by
        shard and row is joining by id, at a third of the time; and a condition on `shard` opens the files of that
        shard alone.
        """
        return self.select(_row="file_row_number")


@dataclass
class Build:
    """What a connection needs: files, variables that list them, and the statements that make the views."""

    files: list[str] = field(default_factory=list)
    variables: list[list[str]] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)

    def table(self, corpus: str, files: list[str], schema: pa.Schema) -> Table:
        """Make files known, and give them as a table."""
        variable = self.listed(files)
        names = unique(schema.names, ("corpus", "shard"))
        return Table(variable, corpus, {name: (i, schema.field(i).type) for i, name in enumerate(names)})

    def listed(self, files: list[str]) -> str:
        """Make files known; the variable that holds their list."""
        self.files += files
        self.variables.append([f"{sandbox.PROTOCOL}://{name}" for name in files])
        return f"files_{len(self.variables) - 1}"

    def view(self, name: str, selects: list[str], schema: str = "main") -> None:
        """Make a view of the rows of several SELECTs; columns that one of them lacks are NULL."""
        if not selects:
            kinds = {"id": "VARCHAR", "corpus": "VARCHAR", "shard": "VARCHAR"} | EMPTY[name]
            selects = [f"SELECT {', '.join(f'NULL::{kind} AS {column}' for column, kind in kinds.items())} LIMIT 0"]
        body = " UNION ALL BY NAME ".join(f"({select})" for select in selects)
        self.statements.append(f"CREATE VIEW {schema}.{quoted(name)} AS {body}")


@contextlib.contextmanager
def opened(
    workspace: Workspace,
    corpora: Collection[str] = (),
    stages: Collection[str] = (),
    locked: bool = False,
    distributions: bool = True,
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the views of a workspace.

    corpora: those that the views show [all]. stages: folders of score stages that a config names, shown instead of the
    newest of their alias. locked: for SQL that a user wrote (pipeline.sandbox). distributions: with the views of
    pipeline.distributions, which take a second to make where stages have many columns. Raises UserError if a corpus
    is unknown or there is none.
    """
    # Membership tests need no corpus: a workspace may hold nothing else.
    without = not corpora and not workspace.corpora() and workspace.store.folders(membership_views.PARENT)
    build = _build(workspace, [] if without else workspace.chosen_corpora(corpora), stages, distributions)
    runs, made = runs_table(workspace), stages_table(workspace)
    with tempfile.TemporaryDirectory(prefix="tamis-") as spill:
        connection = sandbox.connect({name: (workspace.store, name) for name in build.files}, locked)
        try:
            if not locked:
                connection.execute(f"SET temp_directory = {text(spill)}")
            for i, names in enumerate(build.variables):
                connection.execute(f"SET VARIABLE files_{i} = ?", [names])
            connection.register("ledger", runs)
            connection.execute(f"CREATE TABLE shard_runs AS {RUNS}")
            connection.unregister("ledger")
            connection.register("made", made)
            connection.execute("CREATE TABLE stages AS FROM made")
            connection.unregister("made")
            for statement in build.statements:
                connection.execute(statement)
            yield connection
        finally:
            close(connection)


def _build(workspace: Workspace, corpora: list[Corpus], named: Collection[str], distributions: bool) -> Build:
    build = Build(statements=["CREATE SCHEMA single"])
    documents, scored = [], []
    stages: dict[str, list[Table]] = {}
    single: dict[str, list[str]] = {}
    for corpus in corpora:
        done = [shard for shard in corpus.shards if shard in corpus.done] if corpus.done else []
        if not done:
            continue
        table = build.table(corpus.name, [corpus.file(shard) for shard in done], document_schema(corpus))
        documents.append(table)
        scores = {
            alias: build.table(corpus.name, [stage.file(shard) for shard in stage.done], stage.schema)
            for alias, stage in shown_stages(corpus, named).items()
            if stage.done
        }
        scored.append(_scored(table, list(scores.values())))
        counted = next((one for one in scores.values() if "tokens" in one.columns), None)
        for alias, one in scores.items():
            stages.setdefault(alias, []).append(one)
            single.setdefault(alias, []).append(_single(table, one, counted))
    build.view("documents", [table.select() for table in documents])
    build.view("scored", scored)
    build.view("selection", _selections(build, workspace, {corpus.name for corpus in corpora}))
    build.view("rejects", _rejects(build, corpora))
    for name in training_views.VIEWS:
        build.view(name, training_views.training_selects(workspace, name, build.listed, text))
    for name in preselect_views.VIEWS:
        build.view(name, preselect_views.preselect_selects(corpora, name, build.listed, text))
    build.view("judge_evidence", label_views.evidence_selects(corpora, text))
    for name in membership_views.VIEWS:
        build.view(name, membership_views.membership_selects(workspace, name, build.listed, text))
    for name in repeats_views.VIEWS:
        build.view(name, repeats_views.repeat_selects(workspace, name, build.listed, text))
    for name in token_views.VIEWS:
        build.view(name, token_views.token_selects(corpora, name, lambda *files: build.table(*files).select(), text))
    distributed = {}
    for alias, name in zip(stages, unique(stages, FIXED), strict=True):
        build.view(name, [table.select() for table in stages[alias]])
        build.view(name, single[alias], "single")
        distributed[alias] = (f"single.{quoted(name)}", numeric(stages[alias]))
    build.statements += distribution_views(distributed) if distributions else []
    build.view("insertions", ghost_views.insertion_selects(corpora, build.listed, text))
    build.view("ghost_runs", ghost_views.run_selects(list(_spans(stages)), text))
    names = [corpus.name for corpus in corpora]
    build.view("ghost_recurring", ghost_views.recurring_selects(workspace, names, build.listed, text))
    return build


def _spans(stages: Mapping[str, list[Table]]) -> Iterator[tuple[str, str, str]]:
    """(alias, its view, column) of the stages that hold the findings of scorers.ghosts.find."""
    for alias, name in zip(stages, unique(stages, FIXED), strict=True):
        for column, (_, kind) in stages[alias][-1].columns.items():
            if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type) and "cut_start" in kind.value_type.names:
                yield alias, quoted(name), quoted(column)


def _scored(documents: Table, scores: list[Table]) -> str:
    """SELECT of the documents without text, with the columns of all stages; the first owner of a name keeps it."""
    columns = {name: f"d.{quoted(name)}" for name in documents.columns if name not in (*HIDDEN, "id")}
    taken = {name.lower() for name in (*PLACE, *documents.columns)}
    for i, table in enumerate(scores):
        for name in table.columns:
            if name.lower() not in taken:
                taken.add(name.lower())
                columns[name] = f"s{i}.{quoted(name)}"
    return f"SELECT d.id, d.corpus, d.shard{_listed(columns)} FROM {_joined(documents, scores)}"


def _single(documents: Table, scores: Table, counted: Table | None) -> str:
    """SELECT of the documents with the scores of one stage, and their tokens if `counted` has them."""
    columns = {name: f"s0.{quoted(name)}" for name in scores.columns if name.lower() not in SINGLE}
    source = {"source": f"d.{quoted('source')}" if "source" in documents.columns else "NULL::VARCHAR"}
    tables = [scores] if counted in (None, scores) else [scores, counted]
    tokens = {TOKENS: "NULL::BIGINT" if counted is None else f"s{len(tables) - 1}.tokens"}
    return f"SELECT d.id, d.corpus, d.shard{_listed(source | columns | tokens)} FROM {_joined(documents, tables)}"


def _joined(documents: Table, tables: list[Table]) -> str:
    joins = "".join(
        f" LEFT JOIN ({one.placed()}) s{i} ON s{i}.shard = d.shard AND s{i}._row = d._row"
        for i, one in enumerate(tables)
    )
    return f"({documents.placed()}) d{joins}"


def _selections(build: Build, workspace: Workspace, corpora: set[str]) -> list[str]:
    newest = {record["name"]: folder for folder, record in workspace.stages("selections").items()}  # oldest first
    selects = []
    for name, folder in newest.items():
        for corpus in sorted(corpora & set(workspace.store.folders(folder))):
            rows = workspace.rows(f"{folder}/{corpus}")
            files = [f"{folder}/{corpus}/{shard}.parquet" for shard, row in sorted(rows.items()) if row.done]
            if files:
                table = build.table(corpus, files, _schema(workspace, files[0]))
                selects.append(table.select(selection=text(name)))
    return selects


def _rejects(build: Build, corpora: list[Corpus]) -> list[str]:
    selects = []
    for corpus in corpora:
        lost = sorted(shard for shard, row in corpus.done.items() if row.rejected)
        if lost:
            files = [f"{corpus.folder}/rejects/{shard}.parquet" for shard in lost]
            selects.append(build.table(corpus.name, files, _schema(corpus.workspace, files[0])).select())
    return selects


def _schema(workspace: Workspace, name: str) -> pa.Schema:
    with open_parquet(workspace.store, name) as file:
        return file.schema_arrow


def runs_table(workspace: Workspace) -> pa.Table:
    """Every ledger row of the workspace, of all stages and attempts."""
    tables = [_runs(workspace, folder) for folder in ledger_folders(workspace)]
    return pa.concat_tables(tables) if tables else ledger.SCHEMA.empty_table()


def _runs(workspace: Workspace, folder: str) -> pa.Table:
    rows = ledger.read(workspace.store, folder)
    return pa.Table.from_pylist([vars(row) for row in rows], ledger.SCHEMA)


def stages_table(workspace: Workspace) -> pa.Table:
    """What made each output that the ledger speaks of, and each comparison: its stage.json, hashed fields as JSON."""
    folders = dict.fromkeys(f for folder in ledger_folders(workspace) for f in (folder, folder.rpartition("/")[0]) if f)
    folders |= dict.fromkeys(f"comparisons/{name}" for name in workspace.store.folders("comparisons"))
    with ThreadPoolExecutor(1 if workspace.store.is_local else 16) as pool:
        records = pool.map(lambda folder: saved(workspace.store, folder), folders)
    rows = [
        {
            "folder": folder,
            **{key: record[key] for key in ("kind", "name", "hash")},
            **{key: record["info"].get(key) for key in ("created", "tamis")},
            "fields": orjson.dumps(record["fields"], option=orjson.OPT_SORT_KEYS).decode(),
        }
        for folder, record in zip(folders, records, strict=True)
        if record is not None
    ]
    return pa.Table.from_pylist(rows, STAGES)


def ledger_folders(workspace: Workspace, below: str = "") -> list[str]:
    """Folders of the stages that the ledger has rows of."""
    names = workspace.store.folders(ledger.folder(below) if below else "ledger")
    if not names:
        return [below] if below else []
    return [f for name in names for f in ledger_folders(workspace, f"{below}/{name}" if below else name)]


def numeric(tables: list[Table]) -> list[str]:
    """Columns that have a distribution: numbers in every table that has them."""
    numbers, others = dict[str, None](), set(SINGLE)
    for table in tables:
        for name, (_, kind) in table.columns.items():
            if any(is_number(kind) for is_number in NUMBERS):
                numbers[name] = None
            else:
                others.add(name.lower())
    return [name for name in numbers if name.lower() not in others]


def unique(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The names, made distinct for SQL, which is blind to case: a name that is taken becomes name_1, name_2, ..."""
    used, found = {name.lower() for name in taken}, []
    for name in names:
        free, count = name, 0
        while free.lower() in used:
            count += 1
            free = f"{name}_{count}"
        used.add(free.lower())
        found.append(free)
    return found


def _listed(columns: Mapping[str, str]) -> str:
    return "".join(f", {value} AS {quoted(name)}" for name, value in columns.items())
