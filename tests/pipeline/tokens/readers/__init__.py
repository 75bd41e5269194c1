"""Programs that run with a trainer's own interpreter: `read_NAME.py FOLDER` prints what it makes of an export.

A line of JSON per sample: {"reader": which of its ways to read, "ids": [...], "weights": [...]}; a weight of 0 is a
token that its loss leaves out. They import the trainer and nothing of Tamis.
"""
