"""The tutorial for applets: all code on the page runs, and its commands print what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.console.command_line import ROOT

PAGE = (ROOT / "docs" / "writing-an-applet.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


EXAMPLE, SUITE = blocks("python")
(PROJECT,) = blocks("toml")
(CONSOLE,) = blocks("console")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page as an installer lays it out, with its tests."""
    folder = tmp_path_factory.mktemp("package")
    project = tomllib.loads(PROJECT)["project"]
    (folder / "loyalty.py").write_text(EXAMPLE, encoding="utf-8")
    (folder / "test_loyalty.py").write_text(SUITE, encoding="utf-8")
    information = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (information / "entry_points.txt").write_text(points, encoding="utf-8")
    return folder


def run(package: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PERMITCARD_", "PYTEST_"))}
    path = os.pathsep.join((str(package), str(ROOT)))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": path, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_listing_is_the_example() -> None:
    assert (ROOT / "examples" / "applets" / "loyalty.py").read_text(encoding="utf-8") == EXAMPLE


def test_the_tests_of_the_page_pass(package: Path) -> None:
    ran = run(
        package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-W", "error", folder=package
    )
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    assert re.search(r"^14 passed", ran.stdout, re.MULTILINE), ran.stdout


def test_the_commands_of_the_page_print_what_it_says(package: Path, tmp_path: Path) -> None:
    for part in CONSOLE.split("$ ")[1:]:
        command, _, printed = part.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "permitcard"
        ran = run(package, "-m", "permitcard", "--lang", "en", *arguments, folder=tmp_path)
        assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, printed.strip(), "")


def test_the_card_has_the_purse_while_the_package_is_there(package: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from permitcard.products import open_simulated\n"
        "with open_simulated(sys.argv[1], foreign=True) as card, card.connect() as connection:\n"
        "    for text in ('00A4040C07F04C4F59414C01', '8010000002006402'):\n"
        "        print(connection.transmit(bytes.fromhex(text)).hex().upper())\n"
    )
    card = str(tmp_path / "purse.card")
    made = run(
        package, "-m", "permitcard", "card", "new", card, "--applet", "loyalty=241234FFFFFFFFFF", folder=tmp_path
    )
    assert made.returncode == 0, made.stderr
    assert run(package, "-c", code, card, folder=tmp_path).stdout.split() == ["9000", "00649000"]
    assert run(package, "-c", code, card, folder=tmp_path).stdout.split() == ["9000", "00C89000"]
    assert run(tmp_path, "-c", code, card, folder=tmp_path).stdout.split()[0] == "6A82"


def test_what_the_package_cannot_be_is_told(package: Path, tmp_path: Path) -> None:
    """A package that fails is named, and a card without it is made all the same."""
    broken = tmp_path / "broken"
    (broken / "broken-1.0.dist-info").mkdir(parents=True)
    (broken / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    points = "[permitcard.applets]\nmissing = nowhere:Applet\npermit = loyalty:Loyalty\nnothing = os:sep\n"
    (broken / "broken-1.0.dist-info" / "entry_points.txt").write_text(points)
    path = Path(os.pathsep.join((str(broken), str(package))))
    listed = run(path, "-m", "permitcard", "card", "applets", folder=tmp_path)
    assert listed.returncode == 1
    assert "missing of broken cannot be used: ModuleNotFoundError" in listed.stdout
    assert "permit of broken cannot be used: the name permit is taken" in listed.stdout
    assert "nothing of broken cannot be used: has no package_aid" in listed.stdout
    for wanted, code in (("missing", 3), ("unheard", 2), ("loyalty=XY", 2), ("loyalty=00", 1)):
        card = tmp_path / f"{wanted}.card"
        refused = run(path, "-m", "permitcard", "card", "new", str(card), "--applet", wanted, folder=tmp_path)
        assert (refused.returncode, refused.stdout) == (code, "")
        assert "Traceback" not in refused.stderr
        assert not card.exists()
    made = run(path, "-m", "permitcard", "card", "new", str(tmp_path / "plain.card"), folder=tmp_path)
    assert made.returncode == 0
