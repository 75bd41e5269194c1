"""`tamis ghosts insert / find / strip / survive / windows`: identifiers in corpora."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import CorporaOption, LimitOption, MemoryOption, SchedulerOption, WorkersOption, WorkspaceOption

SourceOption = Annotated[str, typer.Option("--corpus", help="The corpus that is read.")]
IntoOption = Annotated[str, typer.Option("--into", help="Name of the corpus that is made.")]
Registry = Annotated[str, typer.Argument(metavar="REGISTRY", help="The registry, a .parquet file.")]


def insert(
    registry: Registry,
    corpus: SourceOption,
    into: IntoOption,
    owner_column: Annotated[
        str | None, typer.Option(help="Column of the owners: one in each of their documents.")
    ] = None,
    repetitions: Annotated[int | None, typer.Option(min=1, help="Documents of each identifier.")] = None,
    grid: Annotated[str | None, typer.Option(help="Identifiers x repetitions, such as 100x1,50x2,20x5.")] = None,
    sql: Annotated[str | None, typer.Option(help="A SELECT that gives id: only these documents.")] = None,
    place: Annotated[
        str | None,
        typer.Option(help="paragraph_end, own_line, sentence_end, word or document_end [paragraph_end]."),
    ] = None,
    between: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="Part of the text, 0 to 1 [0 1].")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Which documents, which places [0].")] = None,
    held_out: Annotated[bool, typer.Option("--held-out", help="Let the held-out split take part.")] = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Put identifiers into the documents of a corpus; a new corpus comes out, and a table of what went where."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.ghosts import insert as inserting
    from pipeline.ghosts.registry import insertions_path, read
    from pipeline.ghosts.settings import InsertSettings
    from pipeline.lock import held
    from pipeline.workspace import Workspace, default_url

    given = {
        "owner_column": owner_column,
        "repetitions": repetitions,
        "grid": grid,
        "sql": sql,
        "place": place,
        "between": between,
        "seed": seed,
        "held_out": held_out or None,
    }
    settings = parsed(InsertSettings, {k: v for k, v in given.items() if v is not None}, "ghosts insert")
    identifiers = read(registry)
    where = Workspace(workspace or default_url())
    source = where.corpus(corpus)
    with held(where.store), Pool(Compute(workers, scheduler, memory), where) as pool:
        done = inserting.insert(source, into, identifiers, settings, pool)
    counts = done["repetitions"]
    typer.echo(f"inserted     {done['inserted']:,} copies of {len(counts):,} identifiers into corpus {into}")
    if counts:
        typer.echo(f"repetitions  {min(counts.values())} to {max(counts.values())} of each")
    if done["without_place"]:
        typer.echo(
            f"left out     {done['without_place']:,} documents without a {settings.place} outside of code and markup"
        )
    typer.echo(f"table: view insertions (tamis sql); repetitions: {insertions_path(registry)}", err=True)


def find(
    corpus: CorporaOption = None,
    registry: Annotated[str | None, typer.Option(help="A registry, or a windows file of one.")] = None,
    words: Annotated[str | None, typer.Option(help="eff-large, a file of words, or none [eff-large].")] = None,
    min_words: Annotated[int | None, typer.Option(help="Different words of a run without registry [8].")] = None,
    repeats: Annotated[
        str | None,
        typer.Option(
            help="A count of `tamis repeats spans`, in whose repeats runs of any list are looked for, or none "
            "[the newest with a window of at most --min-words]."
        ),
    ] = None,
    alias: Annotated[str, typer.Option(help="Name of the scores.")] = "ghosts",
    policy: Annotated[
        str, typer.Option(help="log: nothing more; drop: a selection without; strip: a corpus without.")
    ] = "log",
    name: Annotated[str | None, typer.Option(help="Of the selection (drop) or the corpus (strip).")] = None,
    least: Annotated[float, typer.Option(min=0, max=1, help="Confidence from which drop and strip act.")] = 0.5,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
    limit: LimitOption = None,
) -> None:
    """Find identifiers of a registry, and passphrases of unknown ones; log them, drop their documents or strip them."""
    from pipeline.errors import UserError
    from pipeline.execute import Compute, Pool
    from pipeline.ghosts import find as finding
    from pipeline.lock import held
    from pipeline.workspace import Workspace, default_url

    if policy not in finding.POLICIES:
        raise UserError(f"--policy {policy}: expected one of {', '.join(finding.POLICIES)}")
    if (policy == "log") != (name is None):
        raise UserError("--name goes with --policy drop or strip: it names the selection or the corpus")
    settings: dict[str, Any] = {"registry": registry, "min_words": min_words}
    settings = {k: v for k, v in settings.items() if v is not None}
    if words is not None:
        settings["words"] = None if words == "none" else words
    where = Workspace(workspace or default_url())
    corpora = where.chosen_corpora(corpus or ())
    if policy == "strip" and len(corpora) != 1:
        raise UserError("--policy strip makes one corpus of one: name it with --corpus")
    if policy != "log" and limit is not None:
        raise UserError("--limit looks at a part; --policy drop and strip need all of it")
    with held(where.store), Pool(Compute(workers, scheduler, memory), where) as pool:
        finding.find(where, corpora, alias, settings, pool, limit)
        if limit is None:
            finding.second_stage(where, corpora, alias, min_words or finding.MIN_WORDS, repeats, pool)
        if policy == "drop":
            finding.drop(where, corpora, alias, name or "", least, pool)
        elif policy == "strip":
            finding.strip_found(corpora[0], alias, name or "", least, pool)
    typer.echo(finding.summary(where, [one.name for one in corpora], alias))


def strip(
    corpus: SourceOption,
    into: IntoOption,
    found: Annotated[
        str | None, typer.Option(help="Cut what these scores found, instead of undoing an insertion.")
    ] = None,
    kind: Annotated[list[str] | None, typer.Option(help="With --found: registry, carrier, passphrase [all].")] = None,
    least: Annotated[float, typer.Option(min=0, max=1, help="With --found: from this confidence on.")] = 0.5,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Undo an insertion byte for byte, or cut what was found; a new corpus comes out."""
    from pipeline.errors import UserError
    from pipeline.execute import Compute, Pool
    from pipeline.ghosts import strip as stripping
    from pipeline.lock import held
    from pipeline.workspace import Workspace, default_url

    if kind and found is None:
        raise UserError("--kind goes with --found: an insertion is undone as a whole")
    chosen = None if found is None else stripping.Found(found, tuple(kind or stripping.KINDS), least)
    where = Workspace(workspace or default_url())
    source = where.corpus(corpus)
    with held(where.store), Pool(Compute(workers, scheduler, memory), where) as pool:
        done = stripping.strip(source, into, pool, chosen)
    typer.echo(f"stripped     {done['cuts']:,} pieces out of {done['documents']:,} documents, into corpus {into}")


def survive(
    registry: Registry,
    corpus: SourceOption,
    documents: Annotated[int | None, typer.Option(min=20, help="Documents drawn from the corpus [2000].")] = None,
    repetitions: Annotated[int | None, typer.Option(min=1, help="Documents of each identifier [10].")] = None,
    identifiers: Annotated[
        int | None, typer.Option(min=1, help="Identifiers [what half of the documents hold].")
    ] = None,
    place: Annotated[list[str] | None, typer.Option(help="A way to place them; several times [all].")] = None,
    model: Annotated[str | None, typer.Option(help="fastText model: also try a cut at its median score.")] = None,
    language_model: Annotated[
        str | None, typer.Option(help="Folder of a language model: also try cuts by its perplexity.")
    ] = None,
    carrier: Annotated[str | None, typer.Option(help="with or without its sentence, or both [both].")] = None,
    between: Annotated[
        tuple[float, float] | None, typer.Option(metavar="LOW HIGH", help="Part of the text for word [0.5 1].")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Which documents [0].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON lines.")] = False,
    workspace: WorkspaceOption = None,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
    memory: MemoryOption = None,
) -> None:
    """Try which cleaning steps keep identifiers, for each way to place them; the corpus is left as it is."""
    from pipeline.config_errors import parsed
    from pipeline.execute import Compute, Pool
    from pipeline.ghosts import survive as surviving
    from pipeline.ghosts.registry import read
    from pipeline.ghosts.settings import SurviveSettings
    from pipeline.lock import held
    from pipeline.workspace import Workspace, default_url

    given = {
        "documents": documents,
        "repetitions": repetitions,
        "identifiers": identifiers,
        "places": place,
        "model": model,
        "language_model": language_model,
        "carrier": carrier,
        "between": between,
        "seed": seed,
    }
    settings = parsed(SurviveSettings, {k: v for k, v in given.items() if v is not None}, "ghosts survive")
    known = read(registry)
    where = Workspace(workspace or default_url())
    source = where.corpus(corpus)
    with held(where.store), Pool(Compute(workers, scheduler, memory), where) as pool:
        found = surviving.survive(source, known, settings, pool)
    if as_json:
        import orjson

        for row in found.rows():
            typer.echo(orjson.dumps(row).decode())
    else:
        typer.echo(surviving.shown(found))


def windows(
    registry: Registry,
    out: Annotated[str, typer.Option("--out", "-o", help="The windows file, .parquet.")],
    hide_list: Annotated[bool, typer.Option("--hide-list", help="Do not say which word list it is.")] = False,
) -> None:
    """Hashes of a registry's phrases: enough to find them in a text that holds them, not enough to know them."""
    from pathlib import Path

    import pyarrow.parquet as pq

    from pipeline.ghosts.registry import read
    from pipeline.storage import Store
    from scorers.ghosts.windows import windows_of

    read(registry)  # its errors are clearer
    table = windows_of(registry, name_list=not hide_list)
    file = Path(out).expanduser().absolute()
    with Store(str(file.parent)).writing(file.name) as path:
        pq.write_table(table, path, compression="zstd")
    typer.echo(f"{out}: {table.num_rows:,} windows; `tamis ghosts find --registry {out}` looks for them")
