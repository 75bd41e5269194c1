"""Entry point of `tamis`: registers the commands and turns errors into one clear line and an exit code.

Exit codes: 0 done, 1 some shards failed or the store or cluster went away, 2 the input is wrong, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from typing import Any

import typer

from cli import (
    compare,
    export,
    ghosts,
    import_scores,
    ingest,
    inspect,
    label,
    membership,
    plan,
    preselect,
    price,
    prune,
    repeats,
    repeats_model,
    repeats_near,
    report,
    run,
    score,
    select,
    sql,
    stats,
    status,
    tokens,
    train,
    verify,
)

app = typer.Typer(
    name="tamis",
    help="Curate and select training text for language models: score, look with SQL, cut to an exact budget, export.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LOG_FORMATS = ("text", "json")
INTERRUPTED = 130
"""What Typer ends with after Ctrl-C."""

RUNS, PARTS, LOOKS, KEEPS = "Whole runs", "Steps", "Look", "Housekeeping"
app.command("run", rich_help_panel=RUNS)(run.run)
app.command("plan", rich_help_panel=RUNS)(plan.plan)
app.command("validate", rich_help_panel=RUNS)(plan.validate)
app.command("ingest", rich_help_panel=PARTS)(ingest.ingest)
app.command("score", rich_help_panel=PARTS)(score.score)
app.command("import-scores", rich_help_panel=PARTS)(import_scores.import_scores)
app.command("label", rich_help_panel=PARTS)(label.label)
app.add_typer(preselect.app, name="preselect", rich_help_panel=PARTS)
app.add_typer(ghosts.app, name="ghosts", rich_help_panel=PARTS)
repeats.app.command("model")(repeats_model.model)
repeats.app.command("near")(repeats_near.near)
app.add_typer(repeats.app, name="repeats", rich_help_panel=PARTS)
app.command("select", rich_help_panel=PARTS)(select.select)
app.command("export", rich_help_panel=PARTS)(export.export)
app.add_typer(tokens.app, name="tokens", rich_help_panel=PARTS)
app.command("train", rich_help_panel=PARTS)(train.train)
app.add_typer(membership.app, name="membership", rich_help_panel=PARTS)
app.command("compare", rich_help_panel=PARTS)(compare.compare)
app.command("report", rich_help_panel=LOOKS)(report.report)
app.command("inspect", rich_help_panel=LOOKS)(inspect.inspect)
app.command("price", rich_help_panel=LOOKS)(price.price)
app.command("sql", rich_help_panel=LOOKS)(sql.sql)
app.command("stats", rich_help_panel=LOOKS)(stats.stats)
app.command("status", rich_help_panel=LOOKS)(status.status)
app.command("prune", rich_help_panel=KEEPS)(prune.prune)
app.command("verify", rich_help_panel=KEEPS)(verify.verify)


def _version(asked: bool) -> None:
    if asked:
        from pipeline.stage import version

        typer.echo(f"tamis {version()}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    log_format: str = typer.Option(
        "text", "--log-format", envvar="TAMIS_LOG_FORMAT", help="What stderr gets: text, or json (an event a line)."
    ),
) -> None:
    if log_format not in LOG_FORMATS:
        raise typer.BadParameter(f"{log_format!r}: expected one of {', '.join(LOG_FORMATS)}")
    if log_format == "json":
        from pipeline import events

        events.as_json()


def main(arguments: list[str] | None = None) -> None:
    """Run a command line and exit with its code."""
    try:
        _run(arguments)
    except SystemExit as ended:
        _leave(ended.code)
        raise


def _leave(code: Any) -> None:
    """Exit at once if a query that was given up still runs: an ordinary exit would wait for it."""
    queries = sys.modules.get("pipeline.sandbox_time")
    if queries is not None and queries.any_stuck():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)


def _run(arguments: list[str] | None) -> None:
    from pipeline import events

    signal.signal(signal.SIGTERM, _interrupt)
    events.set_command(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=arguments)
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            _say("interrupted; run the same command again to go on where it stopped", INTERRUPTED)
        raise
    except BrokenPipeError:
        # The reader of our output went away (`| head`): no error, and nothing more to flush to it.
        sys.stdout = None  # type: ignore[assignment]
        sys.exit(0)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        _say(str(error) or type(error).__name__, code)
        if code == 1:
            _say_retry(error)
        sys.exit(code)


def _exit_code(error: Exception) -> int | None:
    """2 for what the user can mend, 1 for what may go on later, None for a bug, which keeps its traceback."""
    from pipeline.errors import Alarm, Gone, ShardsFailed

    if isinstance(error, (ShardsFailed, Alarm, Gone)):
        return 1
    if isinstance(error, (ValueError, OSError)):
        return 2
    return None


def _say(text: str, code: int) -> int:
    from pipeline.redact import message

    print(f"tamis: {message(text)}", file=sys.stderr, flush=True)
    return code


def _say_retry(error: Exception) -> None:
    """The command that tries the failed shards again: the same one."""
    from pipeline import events
    from pipeline.errors import ShardsFailed

    if isinstance(error, ShardsFailed):
        command = shlex.join(events.command())
        events.emit("failed", label=error.stage, failed=len(error.failed), total=error.total, retry=command)
        print(f"tamis: to try them again: {command}", file=sys.stderr, flush=True)


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
