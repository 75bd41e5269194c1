"""Ghost sentences: identifiers of random words, drawn, inserted, found, tested (arXiv 2403.15740).

wordlists   the lists that words are drawn from, known by content
generator   G: phrases, their null draws, their permutations (what a membership test needs)
canonical   what an identifier and its copies have in common
planning    entropy, collisions, how many null draws a registry needs

The registry that holds identifiers and what was promised about their test is pipeline/ghosts/registry.py.
"""
