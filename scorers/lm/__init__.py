"""Per-token losses of causal language models, for panels of models (PreSelect) and whatever else compares models.

    from scorers.lm.model import open_model
    from scorers.lm.losses import token_losses

    with open_model("HuggingFaceTB/SmolLM2-135M", dtype="bfloat16", device="cuda") as model:
        found = token_losses(model, texts, context=2048)
    found.sums / found.chars / np.log(2)  # bits per character

One module each: files (a model's folder and its identity), model (open and close), tokens (text to token ids with
character positions), batching (windows and batches), losses (the pass itself), align (panels with several tokenizers).

torch and transformers come with the extra ``lm`` and are imported only when a model is opened; files, tokens, batching
and align work without them, so that a plan or an alignment needs neither.
"""

VERSION = 2
