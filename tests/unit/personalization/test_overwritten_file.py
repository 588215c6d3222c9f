"""Overwriting: the whole content, and of no other file than the one that was meant."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from personalization.overwritten_file import overwrite_and_remove
from personalization.production.erasure import _files, _remove_delivered  # pyright: ignore[reportPrivateUsage]

MEBIBYTE = 1 << 20
SECRET = b"personal data "


@pytest.mark.parametrize("size", [0, 1, MEBIBYTE - 1, MEBIBYTE, MEBIBYTE + 1, 3 * MEBIBYTE])
def test_every_byte_is_overwritten_and_the_name_is_gone(tmp_path: Path, size: int) -> None:
    path, kept = tmp_path / "file", tmp_path / "another name"
    path.write_bytes((SECRET * (size // len(SECRET) + 1))[:size])
    kept.hardlink_to(path)
    overwrite_and_remove(path)
    assert not path.exists()
    left = kept.read_bytes()
    assert len(left) == size
    assert SECRET not in left
    assert left[-64:] != (SECRET * 5)[-64:] or size < 64


def test_a_large_file_is_not_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery may have tens of gibibytes."""
    asked: list[int] = []
    draw = os.urandom

    def urandom(length: int) -> bytes:
        asked.append(length)
        return draw(length)

    monkeypatch.setattr("personalization.overwritten_file.os.urandom", urandom)
    path = tmp_path / "large"
    path.write_bytes(bytes(4 * MEBIBYTE))
    overwrite_and_remove(path)
    assert sum(asked) == 4 * MEBIBYTE
    assert max(asked) <= MEBIBYTE


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no such flag here")
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other, link = tmp_path / "keys.json", tmp_path / "card"
    other.write_bytes(SECRET)
    link.symlink_to(other)
    with pytest.raises(OSError, match="links"):
        overwrite_and_remove(link)
    assert other.read_bytes() == SECRET


def test_another_file_that_took_the_name_is_left_alone(tmp_path: Path) -> None:
    """Between the look and the overwriting somebody who may write into the folder puts another file there."""
    path, other = tmp_path / "delivered.zip", tmp_path / "other"
    path.write_bytes(b"delivered")
    seen = path.stat()
    other.write_bytes(SECRET)
    path.unlink()
    path.hardlink_to(other)
    with pytest.raises(OSError, match="tale"):
        overwrite_and_remove(path, seen=seen)
    assert other.read_bytes() == SECRET


def test_of_a_link_the_delivered_file_itself_is_removed(tmp_path: Path) -> None:
    inbox, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"
    inbox.mkdir()
    elsewhere.write_bytes(b"delivered")
    (inbox / "link").symlink_to(elsewhere)
    (inbox / "kept").write_bytes(b"not delivered")
    wanted = {hashlib.sha256(b"delivered").digest()}
    assert sum(_remove_delivered(path, wanted) for path in _files([inbox])) == 1
    assert not elsewhere.exists()
    assert (inbox / "kept").read_bytes() == b"not delivered"


@pytest.mark.skipif(os.name != "posix", reason="rights of folders are POSIX's")
def test_a_place_that_nobody_can_look_into_is_told_and_not_passed_over(tmp_path: Path) -> None:
    """What lies there would stay, and the certificate would say that nothing is left."""
    (tmp_path / "closed").mkdir()

    def forbidden(place: str) -> None:
        raise PermissionError(errno.EACCES, "closed", place)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "scandir", forbidden)
        with pytest.raises(PermissionError, match="closed"):
            list(_files([tmp_path]))
    (tmp_path / "file").touch()
    assert list(_files([tmp_path, tmp_path / "missing", tmp_path / "file"])) == [tmp_path / "file"] * 2
