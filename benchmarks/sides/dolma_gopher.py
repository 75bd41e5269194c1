"""dolma's Gopher tagger (gopher_v2): all its attributes of every document; it splits words at white space."""

from benchmarks.sides.serve import pin, serve


def main() -> None:
    """Arguments: FOLDER."""
    (folder,) = pin()
    from dolma.core.data_types import Document
    from dolma.taggers.gopher import GopherTaggerV2

    tagger = GopherTaggerV2()
    serve(
        lambda texts: [Document(source="", id=str(number), text=text) for number, text in enumerate(texts)],
        lambda documents: len([tagger.predict(document) for document in documents]),
        ["dolma"],
        folder,
    )


if __name__ == "__main__":
    main()
