"""PreSelect as stages: a sample of a corpus, a panel's losses on it, strengths, a classifier, its evaluation, weights.

    samples/<corpus>-<hash8>/              documents of the sample: id, text, source, domain, weight
    losses/<corpus>/<model>-<hash8>/       per document and token, aligned with the sample
    strengths/<corpus>/<name>-<hash8>/     strengths per estimator, aligned with the sample; report.json
    models/<name>-<hash8>/                 model.bin, labels.parquet, evaluation.json

One module each: settings, panel (models, scores, tokenizers), sample, losses, matrix (losses of all models side by
side), strength, report, train, evaluate, telling (words), weights. Arithmetic is in scorers/preselect and scorers/lm.
Source: Shum et al. 2025, arXiv 2503.00808.
"""
