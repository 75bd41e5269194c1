#!/usr/bin/env bash
# The demo: run the config, then look at what came out. Run it twice: the second time there is nothing left to do.
set -euo pipefail
cd "$(dirname "$0")/../.."
export TAMIS_WORKSPACE=demo-workspace

step() { printf '\n$ tamis %s\n' "$1${2:+ ${2@Q}}"; tamis "$@"; }

step run configs/demo/demo.yaml
step plan configs/demo/demo.yaml
step status
step sql "SELECT source, count(*) AS documents, round(avg(preselect_score), 3) AS quality FROM scored GROUP BY source ORDER BY source"
step sql "SELECT reason, count(*) AS rows FROM rejects GROUP BY reason ORDER BY rows DESC, reason"
step sql "SELECT selection, reason, count(*) AS documents FROM selection GROUP BY ALL ORDER BY ALL"
step sql "SELECT round(preselect_score, 4) AS quality, tokens, id FROM scored ORDER BY preselect_score DESC LIMIT 3"
printf '\nThe dataset: %s\n' "$(ls -d "$TAMIS_WORKSPACE"/exports/best-*)"
printf 'A page to look at: .venv/bin/tamis report -w %s -o report.html\n' "$TAMIS_WORKSPACE"
