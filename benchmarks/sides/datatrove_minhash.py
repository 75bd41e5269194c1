"""datatrove's signature stage with its defaults (5-grams of simplified words, 14 buckets of 8), without writing."""

import tempfile

from benchmarks.sides.serve import pin, serve


def main() -> None:
    """Arguments: FOLDER."""
    (folder,) = pin()
    from datatrove.pipeline.dedup import MinhashDedupSignature

    with tempfile.TemporaryDirectory() as unused:
        block = MinhashDedupSignature(unused)

        def signed(text: str) -> int:
            shingles = block.get_shingles(text)
            if shingles.size:
                block.get_signature(shingles)
            return 1

        serve(list, lambda texts: sum(map(signed, texts)), ["datatrove", "spacy", "xxhash"], folder)


if __name__ == "__main__":
    main()
