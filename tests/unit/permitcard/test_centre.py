"""A centre's folder."""

from __future__ import annotations

from pathlib import Path

from permitcard.centre import Centre


def test_the_folder_and_the_passphrase_are_their_owner_s(tmp_path: Path) -> None:
    centre = Centre(tmp_path / "bureau" / "centre")
    source = centre.make_test_passphrase()
    assert centre.root.stat().st_mode & 0o777 == 0o700
    assert centre.test_passphrase.stat().st_mode & 0o777 == 0o600
    assert len(source.read()) >= 32
    centre.make_root()
