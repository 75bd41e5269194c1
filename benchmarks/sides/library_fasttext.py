"""The fastText library's Python binding, called with a list of lines: the fastest way that it offers."""

from benchmarks.sides.serve import pin, serve


def main() -> None:
    """Arguments: FOLDER MODEL DISTRIBUTION."""
    folder, path, distribution = pin()
    import fasttext

    model = fasttext.load_model(path)
    serve(
        lambda texts: [text.replace("\n", " ") for text in texts],
        lambda lines: len(model.predict(lines, k=2)[0]),
        [distribution, "numpy"],
        folder,
    )


if __name__ == "__main__":
    main()
