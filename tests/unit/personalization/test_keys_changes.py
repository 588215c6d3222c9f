"""How two operators name a change of a key to each other."""

from __future__ import annotations

import pytest

from personalization.errors import PersonalizationError
from personalization.keys.changes import KeyAct, KeyChange
from personalization.keys.keystore import KeyName


@pytest.mark.parametrize(
    ("typed", "act"),
    [
        ("rotate/card", KeyAct(KeyChange.ROTATE, KeyName.CARD)),
        ("export/issuer", KeyAct(KeyChange.EXPORT, KeyName.ISSUER)),
        ("import/bank_branch/a1b2c3", KeyAct(KeyChange.IMPORT, KeyName.BANK_BRANCH, b"\xa1\xb2\xc3")),
        ("destroy/card/A1B2C3", KeyAct(KeyChange.DESTROY, KeyName.CARD, b"\xa1\xb2\xc3")),
    ],
)
def test_a_change_is_told_by_its_kind_its_key_and_where_it_matters_which(typed: str, act: KeyAct) -> None:
    assert KeyAct.parse(typed) == act
    assert str(act).lower() == typed.lower()
    assert KeyAct.parse(str(act)) == act


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("card", "key-act-malformed"),
        ("", "key-act-malformed"),
        ("steal/card", "key-act-malformed"),
        ("rotate/car", "key-unknown"),
        ("rotate", "key-act-malformed"),
        ("rotate/card/A1B2C3", "key-act-malformed"),
        ("import/card", "key-act-malformed"),
        ("destroy/card/A1B2", "key-act-malformed"),
        ("destroy/card/A1B2C3D4", "key-act-malformed"),
        ("destroy/card/A1B2CX", "key-act-malformed"),
        ("destroy/card/A1B2C3/", "key-act-malformed"),
    ],
)
def test_what_names_no_change_is_refused(typed: str, code: str) -> None:
    with pytest.raises(PersonalizationError, match=code):
        KeyAct.parse(typed)
