"""Which tokens of fine-tuning data carry loss: ssToken and its relatives, from losses and attention that are stored.

ssToken (arXiv 2510.18250), Rho-1 (arXiv 2404.07965) and Token Cleaning (arXiv 2502.01968) look at one number, the
difference of a token's loss under two checkpoints, and differ in which checkpoints, in which tokens are compared with
each other, and in whether attention has a say:

    difference = loss under the weaker checkpoint - loss under the stronger one      (large is kept)

    ssToken          earlier - later, normalised within the sample, mixed with the attention on the prompt; per sample
    Rho-1            the model in training - reference; per batch or over all
    Token Cleaning   the base - the model tuned on good data; over all

One module each: scores (a number per token), keys (numbers and ties as an order), choose (the best of each sample).
Arrays of several samples are flat, with offsets.
"""

VERSION = 1
"""Raised whenever the same inputs give other selections."""
