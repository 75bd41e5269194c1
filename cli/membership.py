"""`tamis membership test / calibrate / split / documents`: has this model been trained on this?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cli.options import WorkspaceOption

if TYPE_CHECKING:
    from scorers.lm.engines.base import EngineSettings

app = typer.Typer(help="Has this model been trained on this?", no_args_is_help=True)

RegistryArgument = Annotated[str, typer.Argument(help="A registry that `tamis ghosts draw` made (.parquet).")]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="Folder or hub name; a server's name for it.")]
EngineOption = Annotated[
    Literal["vllm", "transformers", "server"] | None,
    typer.Option("--engine", help="What runs the model [vllm; server if --url is given]."),
]
DtypeOption = Annotated[Literal["float32", "bfloat16", "float16"], typer.Option("--dtype", help="Of the weights.")]
UrlOption = Annotated[str | None, typer.Option("--url", help="An OpenAI-compatible server, up to and with /v1.")]
TokenizerOption = Annotated[str | None, typer.Option("--tokenizer", help="Folder of the server's tokenizer.")]
PythonOption = Annotated[
    str | None,
    typer.Option("--vllm-python", envvar="TAMIS_VLLM_PYTHON", help="Interpreter of the environment that has vLLM."),
]
ContextOption = Annotated[int | None, typer.Option("--context", min=8, help="Most tokens of a prompt and its reply.")]
FormatOption = Annotated[
    Literal["text", "table", "csv", "json", "parquet"], typer.Option("--format", "-f", help="How results are written.")
]
OutOption = Annotated[str | None, typer.Option("--out", "-o", help="A local file [stdout].")]


@app.callback()
def _group() -> None:
    pass


@app.command("test")
def check(
    registry: RegistryArgument,
    model: ModelOption,
    engine: EngineOption = None,
    dtype: DtypeOption = "float32",
    url: UrlOption = None,
    tokenizer: TokenizerOption = None,
    reference: Annotated[
        str | None, typer.Option("--reference", help="A model that cannot have seen the text, for ratio_nll.")
    ] = None,
    centre: Annotated[
        int, typer.Option("--centre", min=0, help="Orders of each draw for centred_nll; each costs a pass.")
    ] = 0,
    last_k: Annotated[bool, typer.Option("--last-k/--no-last-k", help="Ask for the last words as well.")] = True,
    decoding: Annotated[
        Literal["greedy", "beam", "sampled"], typer.Option("--decoding", help="Of the last words.")
    ] = "greedy",
    replies: Annotated[int, typer.Option("--replies", min=1, help="Beams or samples; each counts as a guess.")] = 1,
    name: Annotated[str | None, typer.Option("--name", help="What the test is called [registry-model].")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N identifiers.")] = None,
    context: ContextOption = None,
    vllm_python: PythonOption = None,
    format: FormatOption = "text",
    out: OutOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Test a model for the identifiers of a registry; the same command goes on where it was interrupted.

    The statistic, the null, the number of draws and the correction are those that the registry committed to.
    """
    from pipeline.config_errors import parsed
    from pipeline.lock import held
    from pipeline.membership.settings import LastKSettings, TestSettings
    from pipeline.membership.shown import shown
    from pipeline.membership.steps import run_test
    from pipeline.workspace import Workspace, default_url

    chosen = _engine(model, engine, dtype, url, tokenizer, context, vllm_python)
    settings = parsed(
        TestSettings,
        {
            "registry": registry,
            "engine": chosen,
            "reference": None if reference is None else chosen.model_copy(update={"model": reference}),
            "centre": centre,
            "last_k": LastKSettings(method=decoding, replies=replies) if last_k else None,
            "limit": limit,
        },
        "membership test",
    )
    place = Workspace(workspace or default_url())
    with held(place.store):
        tested = run_test(place, settings, name)
    _write(tested.table, shown(tested.table, tested.registry, model), format, out)
    typer.echo(place.store.shown(tested.subject.stage.folder), err=True)


@app.command("calibrate")
def calibrate(
    registry: RegistryArgument,
    model: ModelOption,
    identifiers: Annotated[int, typer.Option("--identifiers", "-n", min=10, help="That were never inserted.")] = 100,
    m: Annotated[int, typer.Option("--draws", min=19, help="Null draws of each; 999 reach a p of 0.001.")] = 999,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the identifiers that are made up.")] = 0,
    orders: Annotated[int, typer.Option("--orders", min=0, help="Permutations of each, for that null.")] = 0,
    engine: EngineOption = None,
    dtype: DtypeOption = "float32",
    url: UrlOption = None,
    tokenizer: TokenizerOption = None,
    name: Annotated[str | None, typer.Option("--name", help="What it is called [calibration-...].")] = None,
    context: ContextOption = None,
    vllm_python: PythonOption = None,
    format: FormatOption = "text",
    out: OutOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Check on this model that p-values of identifiers that it cannot know are not too small; exit code 1 if they are.

    Takes the registry's reserves first. Resumes per identifier.
    """
    from pipeline.ghosts.registry import read
    from pipeline.lock import held
    from pipeline.membership.calibrate import calibrate as calibrated
    from pipeline.membership.settings import TestSettings
    from pipeline.membership.shown import calibration
    from pipeline.workspace import Workspace, default_url

    chosen = _engine(model, engine, dtype, url, tokenizer, context, vllm_python)
    settings = TestSettings(registry=registry, engine=chosen, orders=orders, last_k=None)
    place = Workspace(workspace or default_url())
    with held(place.store):
        tested, table = calibrated(place, read(registry), settings, identifiers, m, seed, name)
    _write(table, calibration(table, registry, model), format, out)
    typer.echo(place.store.shown(tested.stage.folder), err=True)
    if not all(table["holds"].to_pylist()):
        raise typer.Exit(1)


@app.command("split")
def split(
    documents: Annotated[str, typer.Argument(help="JSONL (plain, .gz, .zst) or Parquet.")],
    out: Annotated[str, typer.Option("--out", "-o", help="OUT-published.jsonl, OUT-held-out.jsonl and OUT.json.")],
    text: Annotated[str, typer.Option("--text", help="Key of the text.")] = "text",
    share: Annotated[float, typer.Option("--share", min=0.01, max=0.99, help="That is to be published.")] = 0.5,
) -> None:
    """Before publication: deal documents out by chance and print a commitment to it, for a p-value later on."""
    from pipeline.membership.documents import make_split

    made = make_split(documents, out, text, share)
    typer.echo(f"commitment {made.commitment}")
    typer.echo(
        f"publish {out}-published.jsonl ({len(made.published):,}); keep {out}-held-out.jsonl ({len(made.held_out):,}) "
        f"and {out}.json secret; have the commitment time-stamped first",
        err=True,
    )


@app.command("documents")
def documents(
    suspect: Annotated[str, typer.Argument(help="JSONL or Parquet: documents that the model may have read.")],
    held_out: Annotated[str, typer.Argument(help="The same of documents that it cannot have read.")],
    model: ModelOption,
    split: Annotated[
        str | None, typer.Option("--split", help="The split.json that was committed before publication.")
    ] = None,
    value: Annotated[
        Literal["mean_nll", "min_k", "zlib_nll"], typer.Option("--value", help="What is compared.")
    ] = "mean_nll",
    reference: Annotated[str | None, typer.Option("--reference", help="A model whose values are subtracted.")] = None,
    text: Annotated[str, typer.Option("--text", help="Key of the text.")] = "text",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    engine: EngineOption = None,
    dtype: DtypeOption = "float32",
    url: UrlOption = None,
    tokenizer: TokenizerOption = None,
    context: ContextOption = None,
    vllm_python: PythonOption = None,
) -> None:
    """Suspect documents against held-out ones: a p-value for a committed random split, else a score with a control."""
    from dataclasses import asdict

    import orjson

    from pipeline.membership.documents import compare_documents, read_split, read_texts, shown

    chosen = _engine(model, engine, dtype, url, tokenizer, context, vllm_python)
    other = None if reference is None else chosen.model_copy(update={"model": reference})
    known = None if split is None else read_split(split)
    found = compare_documents(read_texts(suspect, text), read_texts(held_out, text), chosen, value, known, other)
    typer.echo(orjson.dumps(asdict(found), option=orjson.OPT_INDENT_2).decode() if as_json else shown(found, value))


def _engine(
    model: str,
    engine: str | None,
    dtype: str,
    url: str | None,
    tokenizer: str | None,
    context: int | None,
    python: str | None,
) -> EngineSettings:
    from pipeline.config_errors import parsed
    from scorers.lm.engines.base import EngineSettings

    values = {
        "engine": engine or ("server" if url else "vllm"),
        "model": model,
        "dtype": dtype,
        "url": url,
        "tokenizer": tokenizer,
        "context": context,
        "python": python,
    }
    return parsed(EngineSettings, values, "engine")


def _write(table: Any, text: str, format: str, out: str | None) -> None:
    from typing import cast

    from pipeline.output import Format, write

    if format != "text":
        write(table.schema, table.to_batches(), cast(Format, format), out)
    elif out is None:
        typer.echo(text)
    else:
        from pathlib import Path

        Path(out).write_text(text + "\n", encoding="utf-8")
