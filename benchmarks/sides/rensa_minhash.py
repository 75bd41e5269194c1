"""rensa's R-MinHash of 120 values, a matrix of digests for many documents at once.

Tokens are words split at white space ("words"), which spares rensa the n-grams, or 5-grams of them ("grams").
"""

from benchmarks.sides.serve import pin, serve

AT_ONCE = 1000


def main() -> None:
    """Arguments: FOLDER TOKENS."""
    folder, tokens = pin()
    from rensa import RMinHash

    def grams(text: str) -> list[str]:
        words = text.split()
        return [" ".join(words[i : i + 5]) for i in range(max(len(words) - 4, 1))]

    split = str.split if tokens == "words" else grams

    def work(texts: list[str]) -> int:
        done = 0
        for start in range(0, len(texts), AT_ONCE):
            part = texts[start : start + AT_ONCE]
            RMinHash.digest_matrix_from_token_sets([split(text) for text in part], 120, 42)
            done += len(part)
        return done

    serve(list, work, ["rensa"], folder)


if __name__ == "__main__":
    main()
