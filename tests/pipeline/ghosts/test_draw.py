"""Commit, draw, verify: what was promised is what is drawn, and secrets stay in their file."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

import orjson
import pytest

from pipeline.errors import UserError
from pipeline.ghosts.draw import NO_BEACON, DrawSettings, commit, commit_path, draw, verify
from pipeline.ghosts.registry import read, secret_path

SETTINGS = DrawSettings(owners=("ann", "ben"), count=3, reserve=2, length=10, carriers=("A {phrase}.", "B {phrase}."))


@pytest.fixture
def path(tmp_path):
    return f"{tmp_path}/owners.parquet"


def test_a_draw_verifies_and_the_commitment_can_be_made_again_by_hand(path):
    committed = commit(path, SETTINGS)
    drawn = draw(path, "beacon value")
    assert verify(path).identifiers == drawn.identifiers
    secret = json.loads(Path(secret_path(path)).read_bytes())
    terms = json.dumps(committed.terms, sort_keys=True, separators=(",", ":"))
    by_hand = hashlib.sha256(f"{terms}\n{secret['salt']}\n{secret['secret']}".encode()).hexdigest()
    assert by_hand == committed.commitment == drawn.commitment


def test_each_owner_gets_active_and_reserve_identifiers(path):
    commit(path, SETTINGS)
    drawn = draw(path, "b")
    assert [(one.owner, one.reserve) for one in drawn.identifiers] == [
        (owner, reserve) for owner in ("ann", "ben") for reserve in (False, False, False, True, True)
    ]
    assert len(drawn.active) == 6
    assert len(drawn.reserves) == 4
    assert drawn.owners == ("ann", "ben")
    assert len({one.id for one in drawn.identifiers}) == 10
    assert all(one.sentence[one.begin : one.end] == one.phrase for one in drawn.identifiers)


def test_secrets_and_phrases_are_readable_by_their_owner_alone(path):
    before = os.umask(0o000)
    try:
        commit(path, SETTINGS)
        draw(path, "b")
    finally:
        os.umask(before)
    for file in (path, secret_path(path)):
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600, file


def test_the_secret_is_in_its_file_alone(path, tmp_path):
    commit(path, SETTINGS)
    draw(path, "b")
    kept = orjson.loads(Path(secret_path(path)).read_bytes())
    for file in tmp_path.iterdir():
        data = file.read_bytes()
        for name in ("secret", "salt"):
            hidden = kept[name].encode() in data or bytes.fromhex(kept[name]) in data
            assert hidden == (str(file) == secret_path(path)), file
    phrase = read(path).identifiers[0].phrase.encode()
    assert phrase not in Path(commit_path(path)).read_bytes()


def test_another_beacon_gives_other_phrases_and_only_one_is_allowed(path):
    commit(path, SETTINGS)
    first = draw(path, "b")
    with pytest.raises(UserError, match="second choice"):
        draw(path, "c")
    os.unlink(path)
    assert not {one.phrase for one in draw(path, "c").identifiers} & {one.phrase for one in first.identifiers}


def test_a_commitment_is_made_once(path):
    commit(path, SETTINGS)
    with pytest.raises(UserError, match="made once"):
        commit(path, SETTINGS)


def test_a_draw_of_another_beacon_or_terms_does_not_verify(path):
    commit(path, SETTINGS)
    draw(path, "b")
    record = orjson.loads(Path(commit_path(path)).read_bytes())
    record["terms"]["plan"]["alpha"] = 0.1
    with open(commit_path(path), "wb") as file:
        file.write(orjson.dumps(record))
    with pytest.raises(UserError, match="do not belong together"):
        verify(path)


def test_somebody_elses_secret_does_not_fit_and_is_not_shown(path, tmp_path):
    commit(path, SETTINGS)
    other = f"{tmp_path}/other.parquet"
    commit(other, SETTINGS)
    os.replace(secret_path(other), secret_path(path))
    with pytest.raises(UserError, match="do not belong together") as raised:
        draw(path, "b")
    assert orjson.loads(Path(secret_path(path)).read_bytes())["secret"] not in str(raised.value)


def test_m_follows_from_the_registry_and_too_small_a_one_is_refused(path):
    many = SETTINGS.model_copy(update={"count": 500, "alpha": 0.01})
    assert commit(path, many).plan.m == 99_999
    with pytest.raises(UserError, match="expected at least 99999"):
        commit(f"{path}.2.parquet", many.model_copy(update={"m": 999}))
    by_owner = many.model_copy(update={"unit": "owner"})
    assert commit(f"{path}.3.parquet", by_owner).plan.m == 999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"owners": ("a", "a")}, "'a' is named twice"),
        ({"statistic": "ratio_nll"}, "needs a reference"),
        ({"reference": "gpt2"}, "no other statistic"),
        ({"last_k": 10}, "leave nothing"),
        ({"words": "/nowhere.txt"}, "neither eff-large nor a text file"),
    ],
)
def test_terms_that_cannot_be_kept_are_refused_before_a_secret_is_made(path, change, message):
    with pytest.raises(UserError, match=message):
        commit(path, SETTINGS.model_copy(update=change))
    assert not os.path.exists(secret_path(path))


def test_phrases_that_come_out_the_same_are_refused(path):
    commit(path, DrawSettings(count=200, length=2, words=_list(path, 10), last_k=1))
    with pytest.raises(UserError, match="larger --length"):
        draw(path, "b")
    assert not os.path.exists(path)


def test_a_list_of_ones_own_travels_with_the_registry(path):
    file = _list(path, 50)
    commit(path, DrawSettings(count=3, length=6, words=file))
    os.unlink(file)
    drawn = draw(path, NO_BEACON)
    assert len(read(path).words) == 50
    assert verify(path).identifiers == drawn.identifiers


def _list(path: str, size: int) -> str:
    name = f"{path}.words"
    with open(name, "w") as file:
        file.writelines(f"w{i:03d}\n" for i in range(size))
    return name
