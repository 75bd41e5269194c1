"""`tamis price`: what the repeats of a corpus cost a language model, by published fits."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.options import WorkspaceOption


def price(
    parameters: Annotated[str, typer.Option("--params", help="Parameters of the model, such as 1B or 350M.")],
    epochs: Annotated[float | None, typer.Option(help="Times that the training goes over the corpus [1].")] = None,
    tokens: Annotated[str | None, typer.Option(help="Instead of epochs: tokens of the training, such as 100B.")] = None,
    alias: Annotated[str | None, typer.Option(help="Name of the count of spans [the newest].")] = None,
    tokens_per_word: Annotated[
        float | None, typer.Option("--tokens-per-word", help="Of a count in words [1.3].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every figure as JSON on stdout.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Say where repeated text lies against the damage band, and what repeats are still worth.

    Needs a count of spans (`tamis repeats spans`). Every figure names its model, where it was measured and where it
    goes beyond that.
    """
    import orjson

    from pipeline.errors import UserError
    from pipeline.repeats.price import price as run
    from pipeline.workspace import Workspace, default_url
    from scorers.repetition.price import amount

    if epochs is not None and tokens is not None:
        raise UserError("--epochs and --tokens say the same thing twice; give one of them")
    if epochs is not None and not 0 < epochs < 1e6:
        raise UserError(f"--epochs {epochs}: expected a number above 0")
    if tokens_per_word is not None and not 0 < tokens_per_word < 100:
        raise UserError(f"--tokens-per-word {tokens_per_word}: expected a number above 0, such as 1.3")
    place = Workspace(workspace or default_url())
    size = amount(parameters)
    total = None if tokens is None else amount(tokens)
    report = run(place, alias, size, epochs if epochs is not None or total else 1.0, total, tokens_per_word)
    if as_json:
        typer.echo(orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode())
    else:
        typer.echo("\n".join(_lines(report)))


def _lines(report: dict[str, Any]) -> list[str]:
    """The report for a person."""
    low, high = report["band"]
    lines = [
        f"{report['count']}: {report['words']:,} words in spans of {report['window']}, {report['epochs']:.3g} epochs = "
        f"{report['training_tokens']:.3g} tokens at {report['tokens_per_word']:.3g} a word; {report['parameters']:.3g} "
        "parameters"
    ]
    if report["winnowed"]:
        lines.append("the count was winnowed: repeats are at least these")
    shares = ", ".join(f"{share:.2%} {k:,} times or more" for k, share in report["mass"].items())
    lines += [f"words that occur in spans: {shares}", f"a perfect removal of later copies takes {report['excess']:.2%}"]
    for figure in report["figures"]:
        value = f"{figure['value']:,.0f}" if figure["value"] > 1.5 else f"{figure['value']:.4f}"
        lines += ["", f"{figure['name']}: {value}", f"  by {figure['model']}", f"  measured on {figure['measured']}"]
        lines += [f"  EXTRAPOLATED: {beyond}" for beyond in figure["beyond"]]
    lines += ["", f"the band for this model: {low:,.1f} to {high:,.0f} times seen{_calls(report['level'])}"]
    lines += [f"  {note}" for note in report["newer"]]
    rows = [["seen in the corpus", "words", "share", "in the band", "worth of a word"]]
    for one in report["classes"]:
        span = f"{one['from']:,}"
        if one["to"] is None:
            span += " and more"
        elif one["to"] > one["from"]:
            span += f" to {one['to']:,}"
        rows.append([span, f"{one['words']:,}", f"{one['share']:.2%}", f"{one['in_band']:.0%}", _number(one)])
    lines += ["", *_table(rows)]
    rows = [["source", "words", "repeated", "later copies", "in the band", "worth of a word", ""]]
    for one in report["sources"]:
        name = "(others)" if one["corpus"] is None else f"{one['corpus']}/{one['source']}"
        shown = [f"{one[key]:.2%}" for key in ("repeated", "excess", "in_band")]
        rows.append([name, f"{one['words']:,}", *shown, _number(one), one["level"]])
    return [*lines, "", *_table(rows)]


def _calls(level: str) -> str:
    return f": {level} (1 % in it is a note, 3 % a warning, 10 % an alarm)" if level else ""


def _number(row: dict[str, Any]) -> str:
    return "" if row["worth_of_a_word"] is None else f"{row['worth_of_a_word']:.3f}"


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *rest]).rstrip())
    return lines
