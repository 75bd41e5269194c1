#!/usr/bin/env bash
# PreSelect from a panel to a selection on one CPU: six tiny models are trained and measured, then judge a pool of manuals.
# Needs `pip install 'tamis[lm]'`. Run it twice: what is done is not done again (but the panel is trained anew).
#
#   configs/preselect-small/run.sh [OUT] [STEPS] [DOCUMENTS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-preselect-small}
steps=${2:-100}
documents=${3:-600}
mkdir -p "$out"
out=$(cd "$out" && pwd)
export TAMIS_WORKSPACE=$out/workspace
export HF_HUB_OFFLINE=1

step() { printf '\n$ tamis %s\n' "$*"; tamis "$@"; }

test -f "$out/panel.yaml" || python "$here/make_panel.py" "$out" --steps "$steps" --documents "$documents"
sample=(--sample domains=400 --sample per_domain=12)
step ingest "$out/pool.jsonl" --corpus manuals --id id --shard-mb 1
step preselect losses --corpus manuals --panel "$out/panel.yaml" "${sample[@]}"
step preselect strength --corpus manuals --panel "$out/panel.yaml" "${sample[@]}" --set benchmarks='[bits]'
# Few documents reach strength 1 by chance alone: a fifth from each end, as the noise-aware form ranks them.
step preselect train --strength strength --corpus manuals --name quality --out "$out/quality.bin" \
  --labels by=noise --labels rule=quantile --labels positive=0.25 --labels negative=0.25 --labels held_out=0.25 \
  --set dim=16 --set bucket=100000 --set lr=0.5 --set epoch=25
step preselect evaluate quality
step preselect weights --corpus manuals --by noise --keep 0.2
step score lengths preselect --corpus manuals --model "$out/quality.bin" --tokenizer "$here/../demo/data/tokenizer.json"
step select best --by preselect_score --budget '20% tokens'
step sql "SELECT truth, kept, count(*) AS documents FROM selection JOIN scored USING (corpus, shard, id)
          GROUP BY ALL ORDER BY ALL"
