"""datatrove's fastText filter, document by document: it annotates and drops nothing, and newlines become spaces."""

import os

from benchmarks.sides.serve import pin, serve


def main() -> None:
    """Arguments: FOLDER MODEL."""
    folder, path = pin()
    # It copies the model into a cache by the name of its path: a cache kept would outlive a new model.
    os.environ["HF_ASSETS_CACHE"] = os.path.join(folder, "assets")
    from datatrove.data import Document
    from datatrove.pipeline.filters import FastTextClassifierFilter

    # Without any label to keep, 0.10.1 fails on loading the model.
    block = FastTextClassifierFilter(path, keep_labels=[("1", 0.0)], newline_replacement=" ")
    serve(
        lambda texts: [Document(text=text, id=str(number)) for number, text in enumerate(texts)],
        lambda documents: len([block.filter(document) for document in documents]),
        ["datatrove", "fasttext-numpy2", "numpy"],
        folder,
    )


if __name__ == "__main__":
    main()
