"""PreSelect: from a panel of language models' losses to predictive strength, labels and sampling weights.

What is here is arithmetic on arrays; the panel is run in the pipeline, the classifier trained from the labels is
scorers/fasttext/preselect.py.
"""
