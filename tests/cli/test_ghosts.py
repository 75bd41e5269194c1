"""`tamis ghosts` as a user calls it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from cli.main import main
from tests.registries import fixed_secrets

DEMO = Path(__file__).parents[2] / "configs" / "demo" / "data"


def tamis(capsys, *arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command line."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    shown = capsys.readouterr()
    return int(ended.value.code or 0), shown.out, shown.err


def test_commit_then_beacon_then_verify(tmp_path, capsys):
    path = f"{tmp_path}/owners.parquet"
    draw = ("ghosts", "draw", path)
    code, out, err = tamis(
        capsys, *draw, "--commit", "--owner", "ann", "--owner", "ben", "--count", "4", "--reserve", "1"
    )
    assert code == 0
    assert "155.1 bits" in out
    assert "10: 2 owners, 4 each and 1 in reserve" in out
    assert "at least 159" in out
    commitment = out.split()[1]
    secret = orjson.loads((tmp_path / "owners.secret").read_bytes())
    assert "publish or timestamp" in err
    code, out, err2 = tamis(capsys, *draw, "--beacon", "f00d")
    assert code == 0
    assert "8 identifiers to insert, 2 in reserve" in out
    code, verified, err3 = tamis(capsys, *draw, "--verify")
    assert code == 0
    assert commitment in verified
    for shown in (out, err, err2, err3, verified):
        assert secret["secret"] not in shown
        assert secret["salt"] not in shown


def test_owners_come_from_a_file_and_a_draw_without_beacon_says_what_it_is_worth(tmp_path, capsys):
    (tmp_path / "owners.txt").write_text("ann\n\nben\n")
    path = f"{tmp_path}/r.parquet"
    code, out, _ = tamis(capsys, "ghosts", "draw", path, "--no-beacon", "--owners", f"{tmp_path}/owners.txt")
    assert code == 0
    assert "20 identifiers to insert" in out
    code, _, err = tamis(capsys, "ghosts", "draw", path, "--verify")
    assert code == 0
    assert "without a beacon" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of --commit, --beacon VALUE, --no-beacon or --verify"),
        (["--commit", "--no-beacon"], "expected one of"),
        (["--beacon", "x"], "--commit` makes one"),
        (["--beacon", "x", "--count", "5"], "--count was fixed by --commit"),
        (["--commit", "--secret", "x"], "--secret goes with --verify"),
        (["--commit", "--carrier", "no place"], "expected {phrase} once"),
        (["--commit", "--casing", "uper"], "'lower', 'capital', 'title' or 'upper'"),
        (["--commit", "--m", "5"], "expected at least 199"),
        (["--commit", "--owners", "/nowhere"], "one owner a line"),
        (["--verify"], "no such file"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, message):
    code, _, err = tamis(capsys, "ghosts", "draw", f"{tmp_path}/r.parquet", *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_insert_find_strip_as_a_user_types_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TAMIS_WORKSPACE", f"{tmp_path}/workspace")
    path, few = f"{tmp_path}/owners.parquet", ("--workers", "1")
    source = str(DEMO / "python-docs.jsonl.zst")
    assert tamis(capsys, "ingest", source, "--corpus", "web", "--id", "id", *few)[0] == 0
    with fixed_secrets(1):  # by chance a word has a hyphen, or a neighbour joins a phrase when it is looked for
        assert tamis(capsys, "ghosts", "draw", path, "--no-beacon", "--count", "6", "--length", "10")[0] == 0
    insert = ("ghosts", "insert", path, "--corpus", "web", "--into", "marked", "--grid", "4x1,2x5")
    code, out, err = tamis(capsys, *insert, "--place", "own_line", "--between", "0.2", "0.9", *few)
    assert code == 0
    assert "14 copies of 6 identifiers into corpus marked" in out
    assert "view insertions" in err
    again = tamis(capsys, *insert, "--place", "word", *few)
    assert again[0] == 2
    assert 'settings.place: "own_line" -> "word"' in again[2]
    windows = f"{tmp_path}/windows.parquet"
    assert "18 windows" in tamis(capsys, "ghosts", "windows", path, "-o", windows)[1]
    find = ("ghosts", "find", "--corpus", "marked", *few)
    code, out, _ = tamis(capsys, *find, "--registry", windows, "--policy", "drop", "--name", "clean")
    assert code == 0
    assert "14 of 170 documents hold" in out
    assert "5 copies in 5 documents" in out
    assert "recurring" not in out
    assert tamis(capsys, "repeats", "spans", "--corpus", "marked", "--window", "8", "--alias", "short", *few)[0] == 0
    code, out, _ = tamis(capsys, "ghosts", "find", "--corpus", "marked", *few)
    assert code == 0
    assert out.partition("recurring in different contexts")[2].count("10 words, 5 copies in 5 documents") == 2
    code, _, err = tamis(capsys, "ghosts", "find", "--corpus", "marked", "--repeats", "nope", *few)
    assert code == 2
    assert "no whole count of repeated spans 'nope'" in err
    code, out, _ = tamis(capsys, "ghosts", "strip", "--corpus", "marked", "--into", "back", *few)
    assert code == 0
    assert "14 pieces out of 14 documents" in out
    files = [next((tmp_path / "workspace/corpora" / name).glob("part-*")).read_bytes() for name in ("web", "back")]
    assert files[0] == files[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["find", "--policy", "burn"], "expected one of log, drop, strip"),
        (["find", "--policy", "drop"], "--name goes with"),
        (["find", "--name", "x"], "--name goes with"),
        (["find"], "no corpus in"),
        (["strip", "--corpus", "a", "--into", "b", "--kind", "list"], "--kind goes with --found"),
        (["insert", "r.parquet", "--corpus", "a", "--into", "b"], "expected one of owner_column"),
        (["insert", "r.parquet", "--corpus", "a", "--into", "b", "--grid", "5"], "expected identifiers x repetitions"),
        (["insert", "r.parquet", "--corpus", "a", "--into", "b", "--repetitions", "2"], "no such file"),
        (["windows", "r.parquet", "-o", "w.parquet"], "no such file"),
    ],
)
def test_wrong_commands_over_corpora_are_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAMIS_WORKSPACE", f"{tmp_path}/none")
    code, _, err = tamis(capsys, "ghosts", *arguments)
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_plan_prints_a_table_and_takes_a_calibration(tmp_path, capsys):
    code, out, _ = tamis(capsys, "ghosts", "plan", "--curve", "llama-3.2-1b ratio")
    assert code == 0
    assert "5 identifiers per owner in 10 documents each (50)" in out
    assert "at least 999 of each identifier" in out
    own = tmp_path / "own.csv"
    own.write_text("repetitions,auc\n1,0.6\n4,0.8\n4,0.9\n")
    code, out, _ = tamis(capsys, "ghosts", "plan", "--calibration", str(own), "--owners", "100", "--alpha", "0.05")
    assert code == 0
    assert "0.850" in out
    assert "at least 1,999" in out
    assert "gemma-2b loss" in tamis(capsys, "ghosts", "plan", "--curve", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "content", "message"),
    [
        (["--curve", "llama"], None, "unknown curve 'llama'"),
        (["--power", "1.5"], None, "power: "),
        (["--m", "10"], None, "expected at least 999"),
        (["--calibration", "FILE"], "a,b\n1,2\n", "expected repetitions and auc"),
        (["--calibration", "FILE"], "repetitions,auc\n5,0.4\n", "more than 0.5"),
        (["--calibration", "FILE"], None, "calibration"),
    ],
)
def test_plans_that_cannot_be_made_are_one_line(tmp_path, capsys, arguments, content, message):
    file = tmp_path / "curve.csv"
    if content is not None:
        file.write_text(content)
    code, _, err = tamis(capsys, "ghosts", "plan", *[str(file) if a == "FILE" else a for a in arguments])
    assert code == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1
