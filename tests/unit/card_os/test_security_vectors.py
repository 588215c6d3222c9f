"""The vector files are in order, and their check finds what is not."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from test_vectors import SCHEMA, load, paths, read
from test_vectors.__main__ import findings, main

GOOD = {"id": "a", "comment": "good", "result": "valid", "key": "00ff", "length": 3}
BAD = {"id": "b", "comment": "bad", "result": "invalid", "flags": ["modified"]}
DOCUMENT: dict[str, object] = {"algorithm": "none", "source": "none", "tests": [GOOD, BAD]}


def check(document: dict[str, object]) -> list[str]:
    return list(findings(document, Draft202012Validator(read(SCHEMA))))


def test_all_files_are_in_order() -> None:
    assert main() == 0


def test_every_file_loads() -> None:
    assert all(load(path) for path in paths())
    assert "crypto/aes_cmac.json" in list(paths())


def test_a_good_document_has_no_findings() -> None:
    assert check(DOCUMENT) == []


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": None},
        {"source": ""},
        {"tests": []},
        {"extra": "field"},
        {"tests": [GOOD | {"result": "acceptable"}]},
        {"tests": [GOOD | {"key": "00FF"}, BAD]},
        {"tests": [GOOD | {"key": "0"}, BAD]},
        {"tests": [GOOD, GOOD | {"result": "invalid"}]},
        {"tests": [GOOD]},
        {"tests": [GOOD, {name: value for name, value in BAD.items() if name != "flags"}]},
        {"tests": [GOOD | {"flags": ["modified"]}, BAD]},
        {"tests": [GOOD, BAD | {"flags": []}]},
        {"tests": [GOOD, BAD | {"flags": ["somehow"]}]},
    ],
)
def test_a_document_out_of_order_is_found(change: dict[str, object]) -> None:
    assert check(DOCUMENT | change)


def test_only_what_judges_nothing_has_no_negatives() -> None:
    """Published vectors, half of them negative: the exceptions are what is made and not judged."""
    exceptions = {path for path in paths() if "no_negatives" in read(path)}
    assert exceptions == {"crypto/secure_messaging_responses.json", "scp02/session_keys.json"}


def test_a_reason_stands_for_missing_negatives() -> None:
    assert check(DOCUMENT | {"tests": [GOOD], "no_negatives": "one-way function"}) == []
