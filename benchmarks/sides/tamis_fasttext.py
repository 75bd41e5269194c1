"""Tamis: from Arrow text, in batches as large as a stage's, to one probability column per label."""

from benchmarks.sides.serve import pin, serve


def main() -> None:
    """Arguments: FOLDER MODEL."""
    folder, path = pin()
    from benchmarks.sides.batches import arrow_batches
    from scorers import fasttext

    model = fasttext.load(path)
    serve(
        arrow_batches,
        lambda batches: sum(model.probabilities(batch).num_rows for batch in batches),
        ["tamis", "numba", "pyarrow", "numpy"],
        folder,
    )


if __name__ == "__main__":
    main()
