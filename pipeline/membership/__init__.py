"""Membership tests over a registry of ghosts: `tamis membership test / calibrate / documents`, and while training.

settings    what a test is told
values      the draws of one identifier, scored by an engine: a small table
run         a registry against a model, identifier by identifier, resumable
results     draws to p-values of identifiers, owners and the registry, corrected as the registry's plan says
shown       results for a person
calibrate   identifiers that were never inserted: do their p-values keep their promise?
documents   suspect documents without ghosts against a held-out set
training    the primary test at checkpoints of a training run

The statistics are in scorers/membership, the engines in scorers/lm/engines, the registry in pipeline/ghosts.
"""
