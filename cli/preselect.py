"""`tamis preselect train`: a quality classifier from labelled rows."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(help="Make a PreSelect classifier.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    pass


@app.command("train")
def train(
    rows: Annotated[list[str], typer.Argument(help="Labelled JSONL files (plain, .gz or .zst).")],
    out: Annotated[str, typer.Option("--out", "-o", help="Where the model goes (.bin).")],
    text: Annotated[str, typer.Option(help="Key of the text.")] = "text",
    label: Annotated[str, typer.Option(help="Key of the label; the positive one is usually 1.")] = "label",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A training setting, such as dim=16 or epoch=3."),
    ] = None,
) -> None:
    """Train a fastText classifier; the same rows and settings give the same file, byte for byte."""
    import yaml

    from pipeline.classifier import ClassifierSettings, train_file
    from pipeline.config_errors import parsed
    from pipeline.errors import UserError

    values = {}
    for item in settings or []:
        key, equals, value = item.partition("=")
        if not equals:
            raise UserError(f"--set {item!r}: expected KEY=VALUE")
        values[key] = yaml.safe_load(value)
    counted = train_file(
        parsed(ClassifierSettings, {"rows": rows, "text": text, "label": label} | values, "preselect train"), out
    )
    typer.echo(f"{out}: trained on {counted:,} rows", err=True)
