"""Tests of membership: has a model been trained on this? Pure functions; nothing here opens a model or a file.

pvalues     exact p-values of ranks, sequential draws, the last-k-words test; corrections for many tests
values      what is measured of a phrase's tokens; small always means member
phrases     where a phrase's tokens stand among those of its sentence
owners      several identifiers of one owner as one exact test
effect      AUC and shares with intervals, the power that planning expects
lastk       prompts and guesses of the last-k-words test
inference   suspect documents against a held-out set, and a control that needs no model

Under the hypothesis that the model has not seen an identifier, the identifier and its null draws are exchangeable,
whatever is measured: that alone carries every p-value here. No normal tail is read off a thousand draws, ties count
against membership, and one statistic is fixed before anything is looked at. Sources: arXiv 2403.15740 (ghost
sentences), 2402.10892 (null draws), 2409.19798 (which proofs of membership are sound), 2406.06443 (dataset inference).
"""

VERSION = 1
"""Raised whenever the same log-probabilities would give other results."""
