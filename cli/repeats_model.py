"""`tamis repeats model`: does a model repeat what repeats, and does what it writes repeat itself?"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cli.options import WorkspaceOption


def model(
    model: Annotated[str, typer.Argument(help="Folder or hub name of a causal language model (safetensors).")],
    corpus: Annotated[str | None, typer.Option(help="Where documents are drawn from [the only corpus].")] = None,
    documents: Annotated[int, typer.Option(min=1, help="Documents that are drawn.")] = 200,
    copies: Annotated[int, typer.Option(min=1, help="Repeats of a sentence, as far as the context goes.")] = 32,
    longest: Annotated[int, typer.Option(min=4, help="Tokens of a sentence that is repeated, at most.")] = 60,
    prefix: Annotated[int, typer.Option(min=1, help="Tokens that the model reads before it writes.")] = 50,
    continuation: Annotated[int, typer.Option(min=1, help="Tokens that it writes.")] = 100,
    top_p: Annotated[float, typer.Option(min=0.01, max=1, help="Mass of the nucleus that is drawn from.")] = 0.9,
    held_out: Annotated[
        bool | None, typer.Option("--held-out/--kept", help="The split [held-out if there is one, else all].")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    dtype: Annotated[str, typer.Option(help="float32 or bfloat16.")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """DITTO's curves over repeated sentences, repetition of what the model writes, and under teacher forcing."""
    from pipeline.config_errors import parsed
    from pipeline.errors import UserError
    from pipeline.extras import needed
    from pipeline.lock import held
    from pipeline.repeats.model import ModelSettings, measure_model, table_of
    from pipeline.workspace import Workspace, default_url

    needed("language models", "lm", "torch", "transformers")
    settings = parsed(
        ModelSettings,
        {
            "documents": documents,
            "copies": copies,
            "longest": longest,
            "prefix": prefix,
            "continuation": continuation,
            "top_p": top_p,
            "held_out": held_out,
            "seed": seed,
            "dtype": dtype,
        },
        "repeats model",
    )
    place = Workspace(workspace or default_url())
    chosen = place.chosen_corpora([corpus] if corpus else ())
    if len(chosen) > 1:
        names = ", ".join(one.name for one in chosen)
        raise UserError(f"several corpora ({names}); say with --corpus which one documents are drawn from")

    def say(text: str) -> None:
        print(f"repeats model: {text}", file=sys.stderr, flush=True)

    with held(place.store):
        folder = measure_model(place, chosen[0], model, settings, say, device, trust_remote_code)
    typer.echo(table_of(place, folder), nl=False)
    typer.echo(f"curves, measures and texts: {place.store.shown(folder)}", err=True)
