#!/usr/bin/env bash
# Six tiny models are trained and measured, then judge a pool of manuals, and what they say becomes a classifier and a
# selection, as ../preselect-small.yaml says. One CPU, minutes. Needs `pip install 'tamis[lm]'`. What is done is not done again.
#
#   configs/preselect-small/run.sh [OUT] [STEPS] [DOCUMENTS]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-preselect-small}
steps=${2:-100}
documents=${3:-600}
mkdir -p "$out"
out=$(cd "$out" && pwd)
config=$out/preselect-small.yaml
export TAMIS_WORKSPACE=$out/workspace
export HF_HUB_OFFLINE=1

step() { printf '\n$ tamis %s\n' "$*"; tamis "$@"; }

test -f "$out/panel.yaml" || python "$here/make_panel.py" "$out" --steps "$steps" --documents "$documents"
cp "$here/../preselect-small.yaml" "$config"
step run "$config"
step plan "$config"
step preselect strength --corpus manuals --name quality --panel "$out/panel.yaml" \
  --sample domains=400 --sample per_domain=12 --set 'benchmarks=[bits]'
step preselect evaluate quality
step preselect weights --corpus manuals --strength quality --by noise --keep 0.2 --format csv --out "$out/weights.csv"
step sql "SELECT selection, truth, kept, count(*) AS documents FROM selection JOIN scored USING (corpus, shard, id)
          GROUP BY ALL ORDER BY ALL"
