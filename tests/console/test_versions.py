"""``--version``: what a report of a fault should name."""

from __future__ import annotations

import platform

import pytest
from packaging.version import Version

from permitcard import __version__
from tests.console.command_line import CommandLine


def test_it_is_a_version_as_packages_have_them() -> None:
    assert str(Version(__version__)) == __version__


def test_a_line_for_people(command: CommandLine) -> None:
    told = command("--version").out
    assert told.startswith(f"permitcard {__version__} (Python {platform.python_version()}, OpenSSL ")
    assert told.count("\n") == 1


@pytest.mark.parametrize("line", [("--version", "--json"), ("--json", "--version")])
def test_a_document_wherever_the_options_stand(command: CommandLine, line: tuple[str, str]) -> None:
    document = command(*line).document
    assert document["permitcard"] == __version__
    assert set(document) == {"permitcard", "python", "openssl", "platform"}
