"""`tamis inspect`: documents with all that is known of them, in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.options import CorporaOption, WorkspaceOption
from cli.sql import ConfigOption, stages_of


def inspect(
    ids: Annotated[list[str] | None, typer.Argument(help="Documents by id [some, drawn at random].")] = None,
    where: Annotated[
        str | None, typer.Option("--where", help="Draw from those that this SQL keeps: preselect_score > 0.9.")
    ] = None,
    stage: Annotated[
        str | None,
        typer.Option(
            "--stage", help="What this selection (of documents or tokens) or this corpus took, left or changed."
        ),
    ] = None,
    before: Annotated[str | None, typer.Option("--before", help="Compare texts with this corpus, by id ...")] = None,
    after: Annotated[str | None, typer.Option("--after", help="... and this one.")] = None,
    count: Annotated[int, typer.Option("--number", "-n", min=1, help="Documents to draw.")] = 3,
    seed: Annotated[int, typer.Option("--seed", help="Another number draws others.")] = 0,
    characters: Annotated[int, typer.Option("--characters", min=1, help="Of each text, at most.")] = 3000,
    whole: Annotated[bool, typer.Option("--whole", help="Texts as a whole.")] = False,
    repeated: Annotated[int, typer.Option("--repeated", min=1, help="Mark runs of so many words that repeat.")] = 10,
    workspace: WorkspaceOption = None,
    corpora: CorporaOption = None,
    config: ConfigOption = None,
) -> None:
    """Show documents with their scores, where those stand among all, their fate in each selection, and marked spans.

    Marked are runs of words that repeat within the document, spans that `tamis repeats` found elsewhere too, and
    identifiers; where tokens were selected, the text follows in their colours. Control characters of a text never reach
    the terminal.
    """
    from pipeline import inspect as looking
    from pipeline.errors import UserError
    from pipeline.workspace import Workspace, default_url

    place = Workspace(workspace or default_url())
    if (before is None) != (after is None):
        raise UserError("--before CORPUS and --after CORPUS belong together")
    if before is not None and after is not None:
        if where or stage:
            raise UserError("--before and --after compare documents by id: leave --where and --stage out")
        looking.changes(place, before, after, ids or (), count)
    elif stage is not None:
        if ids or where:
            raise UserError("--stage draws its own documents: leave ids and --where out")
        looking.stage(place, stage, count, seed, None if whole else min(characters, 600), corpora or ())
    else:
        if ids and where:
            raise UserError("expected ids or --where, got both")
        cut = None if whole else characters
        stages = stages_of(config, place)
        looking.inspect(place, ids or (), where, count, seed, cut, repeated, corpora or (), stages)
