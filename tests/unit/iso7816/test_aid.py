from __future__ import annotations

import pytest

from card_os.iso7816.aid import Aid


@pytest.mark.parametrize("length", [0, 4, 17])
def test_an_aid_has_five_to_sixteen_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="5 to 16"):
        Aid(bytes(length))


def test_an_aid_is_its_bytes() -> None:
    aid = Aid(bytes.fromhex("A000000151000000"))
    assert aid == bytes.fromhex("A000000151000000")
    assert aid.rid == bytes.fromhex("A000000151")
    assert (str(aid), repr(aid)) == ("A000000151000000", "Aid(A000000151000000)")
    assert aid.matches(b"")
    assert aid.matches(aid[:6])
    assert aid.matches(aid)
    assert not aid.matches(aid + b"\x00")
    assert not aid.matches(b"\xa0\x01")
