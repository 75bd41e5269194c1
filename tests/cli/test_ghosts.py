"""`tamis ghosts` as a user calls it."""

from __future__ import annotations

import orjson
import pytest

from cli.main import main


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
