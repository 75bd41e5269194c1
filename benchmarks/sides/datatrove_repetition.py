"""datatrove's Gopher repetition filter with its defaults: it stops at a document's first broken rule."""

from benchmarks.sides.serve import pin, serve


def main() -> None:
    """Arguments: FOLDER."""
    (folder,) = pin()
    from datatrove.data import Document
    from datatrove.pipeline.filters import GopherRepetitionFilter

    block = GopherRepetitionFilter()
    serve(
        lambda texts: [Document(text=text, id=str(number)) for number, text in enumerate(texts)],
        lambda documents: len([block.filter(document) for document in documents]),
        ["datatrove", "spacy"],
        folder,
    )


if __name__ == "__main__":
    main()
