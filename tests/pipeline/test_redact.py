"""Secrets are taken out of texts and records; what is none stays."""

from __future__ import annotations

import pytest

from pipeline.redact import message, scrubbed


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:hunter2@example.com/m.bin?X-Amz-Signature=abc: gone", "https://example.com/m.bin gone"),
        ("cannot read 's3://k:hunter2@bucket/a' (403)", "cannot read 's3://bucket/a' (403)"),
        ("'/tmp/http:/me:hunter2@host/a?sig=1/state.json'", "'/tmp/http:/host/a'"),
        ("s3://a/b,https://me:hunter2@host/c", "s3://a/b,https://host/c"),
        ("--set x.password=hunter2", "--set x.password=***"),
        ('{"aws_secret_access_key": "hunter2", "n": 1}', '{"aws_secret_access_key": "***", "n": 1}'),
        ("access_token=hunter2&b=1", "access_token=***&b=1"),
        ("eos_token: <|endoftext|>", "eos_token: <|endoftext|>"),
        ("expected tokens: 4096000", "expected tokens: 4096000"),
        ("unexpected token: frobnicate", "unexpected token: frobnicate"),
        ("a/b@c.jsonl at 3:30", "a/b@c.jsonl at 3:30"),
    ],
)
def test_messages_keep_their_sense_and_lose_their_secrets(text: str, shown: str) -> None:
    assert message(text) == shown


def test_values_of_telling_variables_are_found_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "sk-0123456789")
    monkeypatch.setenv("SHORT_SECRET", "ab")
    monkeypatch.setenv("HARMLESS", "plain-value")
    assert scrubbed({"error": ["403 for sk-0123456789", "about plain-value"]}) == {
        "error": ["403 for ***", "about plain-value"]
    }
