"""The file commands against tables of what the standard has them answer."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest

from card_os.hardware.image import NvmImage
from tests.doubles.file_card import FILE_CARD, install_files, make_file_card
from tests.doubles.recording_applet import blank_memory


class Run(NamedTuple):
    """Commands and answers on one card."""

    name: str
    clause: str
    rows: list[tuple[str, str]]


def expected(name: str) -> list[Run]:
    table = tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return [Run(run["name"], run["clause"], run["rows"]) for run in table["run"]]


@pytest.fixture(scope="module")
def master() -> NvmImage:
    image = blank_memory()
    install_files(make_file_card(image.nvm()))
    return image


@pytest.mark.parametrize("run", expected("expected_commands.toml"), ids=lambda run: run.name)
def test_the_card_answers_as_expected(master: NvmImage, run: Run) -> None:
    card = make_file_card(master.fork().nvm())
    port = card.contact
    port.power_on()
    assert port.process(b"\x00\xa4\x04\x0c\x07" + FILE_CARD) == b"\x90\x00"
    for command, answer in run.rows:
        given = port.process(bytes.fromhex(command)).hex().upper()
        assert (command, given) == (command, answer.replace(" ", "")), run.clause
    assert card.faults == 0


@pytest.mark.parametrize("run", expected("expected_management.toml"), ids=lambda run: run.name)
def test_management_answers_as_expected(master: NvmImage, run: Run) -> None:
    test_the_card_answers_as_expected(master, run)


@pytest.mark.parametrize("run", expected("expected_transport.toml"), ids=lambda run: run.name)
def test_transport_answers_as_expected(master: NvmImage, run: Run) -> None:
    test_the_card_answers_as_expected(master, run)
