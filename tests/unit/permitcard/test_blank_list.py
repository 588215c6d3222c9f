"""A vendor's list of blanks is taken whole or not at all, and a feeder's place is no part of a reader's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from permitcard.blank_list import read_blank_list
from permitcard.outfit import StationOutfit
from personalization.errors import PersonalizationError
from personalization.keys.file_store import FileKeyStoreLocation
from personalization.keys.passphrase import PassphraseSource
from personalization.production.journal.place import SqliteFile

HEAD = "card_number,reader,place\n"
FIRST = "4A5A01440A0000000001"
SECOND = "4a5a01440a0000000002"


def listed(folder: Path, content: str | bytes) -> Path:
    path = folder / "list.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_cards_come_with_their_readers_and_places(tmp_path: Path) -> None:
    content = f"\ufeff{HEAD}{FIRST},pcsc:ACME 00 00,tray 1/001\n{SECOND}, pcsc:ACME 00 00 ,tray 1/002\n"
    found = read_blank_list(listed(tmp_path, content), production=True)
    assert [(one.card_number.hex(), one.location) for one in found] == [
        (FIRST.lower(), "pcsc:ACME 00 00#tray 1/001"),
        (SECOND, "pcsc:ACME 00 00#tray 1/002"),
    ]
    without = f'reader,card_number\n"pcsc,t1:ACME 00 00",{FIRST}\nserial:/dev/ttyS0,{SECOND}\n'
    found = read_blank_list(listed(tmp_path, without), production=True)
    assert [one.location for one in found] == ["pcsc,t1:ACME 00 00", "serial:/dev/ttyS0"]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        ("", 1, "card_number,place,reader"),
        ("card_number\n", 1, "card_number,place,reader"),
        (f"card_number,reader,colour\n{FIRST},pcsc:A,red\n", 1, "card_number,place,reader"),
        (HEAD, 1, "no card"),
        (f"{HEAD}{FIRST[:-1]},pcsc:A,\n", 2, "card_number"),
        (f"{HEAD}{FIRST},pcsc:A,1\n{FIRST}0,pcsc:A,2\n", 3, "card_number"),
        (f"{HEAD}{FIRST},pcsc:A,1,more\n", 2, "card_number"),
        (f"{HEAD}{FIRST}\n", 2, "reader"),
        (f"{HEAD}{FIRST},nothing,\n", 2, "reader"),
        (f"{HEAD}{FIRST},pcsc:A#1,\n", 2, "place"),
        (f"{HEAD}{FIRST},pcsc:A,1#2\n", 2, "place"),
        (f"{HEAD}{FIRST},pcsc:A,{'x' * 65}\n", 2, "place"),
        (f"{HEAD}{FIRST},pcsc:{'x' * 1024},\n", 2, "place"),
        (f"{HEAD}{FIRST},sim:a.card,1\n", 2, "place"),
        (f"{HEAD}{FIRST},sim:/etc/passwd,\n", 2, "reader"),
        (f"{HEAD}{FIRST},sim:cards/../../keys.json,\n", 2, "reader"),
        (f"{HEAD}{FIRST},sim:a.card:contactless,\n", 2, "reader"),
        (f"{HEAD}{FIRST},pcsc:A,1\n{FIRST.lower()},pcsc:A,2\n", 3, "twice"),
        (f"{HEAD}{FIRST},pcsc:A,1\n{SECOND},pcsc:A,1\n", 3, "twice"),
    ],
)
def test_a_list_that_is_wrong_anywhere_is_refused_with_its_line(
    tmp_path: Path, content: str, line: int, what: str
) -> None:
    with pytest.raises(PersonalizationError) as caught:
        read_blank_list(listed(tmp_path, content), production=False)
    assert caught.value.code == "blank-list-malformed"
    assert (caught.value.parameters["line"], caught.value.parameters["what"]) == (line, what)


@pytest.mark.parametrize("content", [b"\xff\xfe", b'card_number,reader\n"' + b"x" * 200_000])
def test_what_is_no_list_is_said_to_be(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(PersonalizationError, match="blank-list-unreadable"):
        read_blank_list(listed(tmp_path, content), production=False)
    with pytest.raises(PersonalizationError, match="blank-list-unreadable"):
        read_blank_list(tmp_path, production=False)


def test_production_keys_take_no_card_files(tmp_path: Path) -> None:
    path = listed(tmp_path, f"{HEAD}{FIRST},sim:cards/1.card,\n")
    with pytest.raises(PersonalizationError, match="production-keys-simulated-card"):
        read_blank_list(path, production=True)
    assert read_blank_list(path, production=False)[0].location == "sim:cards/1.card"


def test_a_station_connects_to_the_reader_and_leaves_the_place_to_the_feeder(tmp_path: Path) -> None:
    keys = FileKeyStoreLocation(tmp_path / "keys", PassphraseSource.environment("NOBODY"))
    paths = (tmp_path / "prepared", tmp_path / "source", tmp_path / "faces")
    outfit = StationOutfit("B", tmp_path, keys, *paths, SqliteFile(tmp_path / "journal"))
    with outfit.connect("serial:/dev/none#tray 1/001", production=True) as card:
        assert "tray" not in card.contact.description.name
        assert "/dev/none" in card.contact.description.name
        assert card.contactless is None
