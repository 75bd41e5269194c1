"""Tamis: any scorer without model files, from Arrow text to its score columns, the word split included."""

from benchmarks.sides.serve import pin, serve


def main() -> None:
    """Arguments: FOLDER SCORER."""
    folder, name = pin()
    from benchmarks.sides.batches import arrow_batches
    from scorers import scorer_module
    from scorers.texts import Texts

    module = scorer_module(name)
    scorer = module.load(module.Settings(), {}, name)
    serve(
        arrow_batches,
        # Texts are made anew each time: they keep their word split.
        lambda batches: sum(len(scorer.score(Texts.from_arrow(batch))[0]) for batch in batches),
        ["tamis", "numba", "pyarrow", "numpy"],
        folder,
    )


if __name__ == "__main__":
    main()
