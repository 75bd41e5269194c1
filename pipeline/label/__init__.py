"""Labels from a language model as judge: a sample, prompts about it, answers, and the documents' quality.

settings   what a judge file may say
judges     which model runs a judge, its prompts' frame and its letters
ask        prompts through the engine, one ledger row per batch of them: answers/<corpus>/<judge>-<hash8>/
label      answers -> quality per document: strengths/<corpus>/<name>-<hash8>/, which `preselect train` reads
cost       prompts, tokens and hours before anything runs
steps      all of it as one entry of a config
"""
