"""Fill README.md with what the demo prints, and docs/cookbook.md with answers over the demo's workspace.

    make readme

What stands between the markers is replaced; nothing there is written by hand.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, COOKBOOK_PAGE = ROOT / "README.md", ROOT / "docs" / "cookbook.md"
WORKSPACE = "demo-workspace"
COOKBOOK = {
    "What is in the corpus, by source?": """
SELECT source, count(*) AS documents, sum(tokens) AS tokens, round(avg(preselect_score), 3) AS quality
FROM scored GROUP BY source ORDER BY tokens DESC""",
    "What would a threshold keep?": """
SELECT t AS threshold, count(*) AS documents, sum(tokens) AS tokens,
  round(sum(tokens) / (SELECT sum(tokens) FROM scored), 3) AS share
FROM scored, (VALUES (0.5), (0.9), (0.99)) AS v(t) WHERE preselect_score >= t GROUP BY t ORDER BY t""",
    "Which documents repeat themselves most?": """
SELECT id, round(rep_ngram10_cover, 3) AS repeated, rep_loop_copies AS copies, words
FROM scored WHERE words > 100 ORDER BY rep_ngram10_cover DESC, id LIMIT 3""",
    "How many sentences repeat the one before them, per ten thousand?": """
SELECT source, round(1e4 * sum(rep_sent_consecutive) / sum(rep_sents - 1), 1) AS per_10000
FROM scored WHERE rep_sents > 0 GROUP BY source ORDER BY source""",
    "Why were documents left out, and how many tokens did that cost?": """
SELECT selection, reason, count(*) AS documents, sum(tokens) AS tokens
FROM selection JOIN scored USING (corpus, id) GROUP BY ALL ORDER BY selection, documents DESC""",
    "Does the score just follow length?": """
SELECT round(corr(preselect_logit, ln(words + 1)), 3) AS correlation FROM scored""",
    "Read what the classifier likes least": """
SELECT round(preselect_score, 4) AS quality, replace(left(text, 60), chr(10), ' ') AS beginning
FROM documents JOIN preselect USING (corpus, id) ORDER BY preselect_score, id LIMIT 3""",
    "What did each stage cost?": """
SELECT split_part(stage, '/', -1) AS stage, count(*) AS shards, sum(rows_in) AS rows,
  round(sum(bytes_in) / 1e6, 1) AS mb
FROM shard_runs WHERE status = 'done' AND kind = 'scores' GROUP BY stage ORDER BY stage""",
}


def printed(*command: str) -> str:
    """What a command prints, stdout and stderr as they come."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout.strip()


def cookbook() -> str:
    """Each question with its query and its answer."""
    tamis = str(Path(sys.executable).with_name("tamis"))
    parts = []
    for question, query in COOKBOOK.items():
        answer = printed(tamis, "sql", query.strip(), "-w", WORKSPACE)
        parts.append(f"{question}\n\n```sql{query}\n```\n```\n{answer}\n```")
    return "\n\n".join(parts)


def main() -> None:
    """Run the demo from nothing and write what it printed."""
    printed("rm", "-rf", WORKSPACE)
    filled(README, "demo", f"```\n{printed('make', '--no-print-directory', 'demo')}\n```")
    filled(COOKBOOK_PAGE, "cookbook", cookbook())


def filled(page: Path, name: str, content: str) -> None:
    """Put content between a page's markers of a name."""
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    text = page.read_text()
    if not pattern.search(text):
        sys.exit(f"{page}: no markers <!-- {name} --> and <!-- /{name} -->")
    page.write_text(pattern.sub(lambda _: f"<!-- {name} -->\n{content}\n<!-- /{name} -->", text))


if __name__ == "__main__":
    main()
