"""The wheel: what is in it, and the shared suite run from it, away from the checkout."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import defusedxml.ElementTree
import pytest

from permitcard.applets import BUILT_IN, GROUP
from tests.console.command_line import ROOT

PACKAGES = {"card_os", "applet", "personalization", "reader_bridge", "test_vectors", "permitcard"}
CARRIED = (
    "applet/permit/profile.toml",
    "applet/sam/profile.toml",
    "permitcard/messages/en.toml",
    "permitcard/messages/zh.toml",
    "permitcard/messages/zh-reasons.toml",
    "permitcard/messages/zh-said.toml",
    "permitcard/messages/help/zh-frame.toml",
    "permitcard/messages/help/zh-batch.toml",
    "permitcard/conformance/suite.ini",
    "permitcard/conformance/test_selection.py",
    "personalization/intake/messages/zh.toml",
    "personalization/intake/tables/divisions.tsv",
    "personalization/intake/templates/findings.html",
    "personalization/production/journal/migrations/versions/r0001_first_form.py",
    "personalization/reports/templates/batch.html.j2",
    "personalization/reports/templates/style.css",
    "personalization/reports/words/zh.toml",
    "test_vectors/schema/vectors.schema.json",
    "test_vectors/tables/commands/permit.toml",
    "test_vectors/scp03/command.json",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as pip builds it, by the backend that is installed, without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    code = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    built = subprocess.run([sys.executable, "-c", code, folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return folder / built.stdout.split()[-1]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as an installer lays it out."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run_installed(installed: Path, *arguments: str, beside: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in an empty folder, with the installed packages and the libraries of the environment only.

    Args:
        installed: folder of the packages.
        arguments: of Python.
        beside: folder of another package.
    """
    folder = installed.parent / f"{installed.name}-work"
    folder.mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PERMITCARD_", "PYTEST_"))}
    path = str(installed) if beside is None else os.pathsep.join((str(installed), str(beside)))
    return subprocess.run(
        [sys.executable, "-P", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": path, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_the_wheel_holds_what_the_commands_need_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert set(CARRIED) <= names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert any(name.endswith(".dist-info/entry_points.txt") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".card", ".sqlite", ".zip"))]


def test_the_packages_come_from_the_wheel(installed: Path) -> None:
    code = (
        "import permitcard, card_os, test_vectors; print(permitcard.__file__, card_os.__path__, test_vectors.__file__)"
    )
    shown = run_installed(installed, "-c", code)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count(str(installed)) == 3
    assert str(ROOT) not in shown.stdout


def test_vectors_are_found_as_resources(installed: Path) -> None:
    code = (
        "import json; from importlib.resources import files\n"
        "found = [entry for folder in files('test_vectors').iterdir() if folder.is_dir() and folder.name != 'schema'"
        " for entry in folder.iterdir() if entry.name.endswith('.json')]\n"
        "print(len(found), all(json.loads(entry.read_text('utf-8')) for entry in found))"
    )
    shown = run_installed(installed, "-c", code)
    assert shown.returncode == 0, shown.stderr
    count, readable = shown.stdout.split()
    assert int(count) >= 8
    assert readable == "True"


def test_applications_are_found_by_entry_point_also_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    (points,) = installed.glob("permitcard-*.dist-info/entry_points.txt")
    ours = configparser.ConfigParser(delimiters="=")
    ours.read_string(points.read_text(encoding="utf-8"))
    assert dict(ours[GROUP]) == BUILT_IN
    (tmp_path / "loyalty.py").write_bytes((ROOT / "examples" / "applets" / "loyalty.py").read_bytes())
    information = tmp_path / "loyalty_purse-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: loyalty-purse\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{GROUP}]\nloyalty = loyalty:Loyalty\n")
    card = tmp_path / "purse.card"
    arguments = ("-m", "permitcard", "card", "new", str(card), "--applet", "loyalty=241234FFFFFFFFFF")
    made = run_installed(installed, *arguments, beside=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "F04C4F59414C01" in made.stdout
    assert run_installed(installed, *arguments).returncode == 2


def test_the_shared_suite_runs_from_the_wheel(installed: Path) -> None:
    junit, html = installed.parent / "suite.xml", installed.parent / "suite.html"
    arguments = ("-m", "permitcard", "test", "--card", "sim", "--junit", str(junit), "--html", str(html))
    ran = run_installed(installed, *arguments)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    suite = next(defusedxml.ElementTree.parse(junit).iter("testsuite"))
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    assert counts["tests"] - counts["skipped"] >= 80
    assert (counts["failures"], counts["errors"]) == (0, 0)
    assert "7816" in html.read_text("utf-8")
