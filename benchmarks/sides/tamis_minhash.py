"""Tamis: band keys of documents with its defaults (5-grams of folded words, 20 bands of 6 rows), from Arrow text."""

from benchmarks.sides.serve import pin, serve


def main() -> None:
    """Arguments: FOLDER."""
    (folder,) = pin()
    from benchmarks.sides.batches import arrow_batches
    from pipeline.near.keys import keys_of
    from scorers.near.minhash import Scheme
    from scorers.texts import Texts

    scheme = Scheme()
    serve(
        arrow_batches,
        lambda batches: sum(len(keys_of(Texts.from_arrow(batch), scheme, True)[0]) for batch in batches),
        ["tamis", "numba", "pyarrow", "numpy"],
        folder,
    )


if __name__ == "__main__":
    main()
