"""A language model as judge of documents: which documents are asked about together, what is asked, and what the
answers say.

    design    groups of documents with balanced positions and anchors
    prompts   rubric, excerpts and letters as token ids whose next token is the answer
    fit       document quality and position bias from the letters' log-probabilities (Plackett-Luce)
    evidence  how reliable the answers are, and whether they are answers at all

One output token holds a whole ranking: its probabilities over the letters order all documents of the prompt (FIRST,
arXiv 2406.15657; full ranking in one prompt, arXiv 2412.14574). Nothing here runs a model.
"""

VERSION = 1
"""Raised whenever prompts or fits change for the same settings."""
