"""Images of earlier releases still boot (law 1), and this release has its own."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path

import pytest

from card_os.hardware.chip import load_chips
from card_os.hardware.image import ImageError, NvmImage
from card_os.iso7816.apdu import CommandApdu
from permitcard import __version__
from permitcard.applets import BUILT_IN
from permitcard.products import boot, permit_profile
from permitcard.release_images import (
    CONTENTS,
    KINDS,
    SUFFIX,
    image_name,
    kind_of,
    read_image,
    write_images,
)
from permitcard.specimen import HOLDER_PIN, specimen_keys
from permitcard.tearing.script import TearScript
from permitcard.tearing.sweeping import CardToTear, sweep_script
from permitcard.testing.access import find_target
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.terminal.holder import HolderSession
from personalization.terminal.session import TerminalSession
from reader_bridge.simulated import SimulatedCard

ROOT = Path(__file__).parents[3]
RELEASES = sorted(path for path in (ROOT / "test_vectors" / "nvm_images").iterdir() if path.is_dir())
IMAGES = sorted(path for release in RELEASES for path in release.glob(f"*{SUFFIX}"))
SPECIMENS = [path for path in IMAGES if path.name.startswith("specimen")]


def raw(path: Path) -> bytes:
    return lzma.decompress(path.read_bytes())


def case(path: Path) -> str:
    return f"{path.parent.name}/{path.name.removesuffix(SUFFIX)}"


def test_versions_include_current() -> None:
    assert __version__ in {release.name for release in RELEASES}, (
        f"make images of {__version__}: python -m permitcard.release_images test_vectors/nvm_images/{__version__}"
    )


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_a_release_has_one_image_of_each_kind_on_each_chip(release: Path) -> None:
    """Every application and a blank, on every chip that there is: nobody adds one without its image."""
    contents = json.loads((release / CONTENTS).read_text(encoding="utf-8"))
    assert set(contents) == {image_name(kind, chip) for kind in KINDS for chip in load_chips()}
    assert set(KINDS) - {"blank", "specimen"} == set(BUILT_IN) - {"permit"}
    assert {path.name.removesuffix(SUFFIX) for path in release.glob(f"*{SUFFIX}")} == set(contents)


@pytest.mark.parametrize("path", IMAGES, ids=case)
def test_an_image_boots_and_tells_what_it_told_then(path: Path) -> None:
    name = path.name.removesuffix(SUFFIX)
    with NvmImage.from_snapshot(raw(path)) as image:
        assert image_name(kind_of(name), next(n for n, c in load_chips().items() if c == image.chip)) == name
    expected = json.loads((path.parent / CONTENTS).read_text(encoding="utf-8"))[name]
    content = raw(path)
    assert hashlib.sha256(content).hexdigest() == expected["sha256"]
    assert read_image(name, content) == expected["readable"]


@pytest.mark.parametrize("path", SPECIMENS, ids=case)
def test_an_old_permit_goes_on(path: Path) -> None:
    """Not only read: PIN, record and status change as on a new card, and survive cuts."""
    profile = permit_profile()
    image = NvmImage.from_snapshot(raw(path))
    with SimulatedCard(image, boot) as card:
        with card.connect() as connection:
            target = find_target(connection, None)
        with card.connect() as connection:
            HolderSession.open(connection, profile).change(HOLDER_PIN, "97531")
        with card.connect() as connection:
            desk = TerminalSession.open(connection, LaboratorySam(specimen_keys()), profile, "service_desk")
            assert desk.channel.exchange(CommandApdu(0, 0xD6, 0x8D, 0, b"\x02")).sw.ok
            assert desk.read("EF.STATUS")[:1] == b"\x02"
        with card.connect() as connection:
            HolderSession.open(connection, profile).verify("97531")
        script = TearScript.parse("terminal service_desk\n00DA DF22 08 3230323730363031\n")
        report = sweep_script(script, CardToTear(card.image.fork(), target))
    assert report.cuts == 4 * report.units
    assert report.units > 15
    assert report.found == 0


def test_this_version_makes_what_it_promises(tmp_path: Path) -> None:
    """A specimen made now has the content of the one in the release: nobody changed it without a new version."""
    write_images(tmp_path / "now")
    now = json.loads((tmp_path / "now" / CONTENTS).read_text(encoding="utf-8"))
    then = json.loads((RELEASES[-1] / CONTENTS).read_text(encoding="utf-8"))
    for name in now:
        assert now[name]["readable"].keys() == then[name]["readable"].keys()
        assert now[name]["readable"]["card_number"] == then[name]["readable"]["card_number"]
        if kind_of(name) != "specimen":  # a specimen has a new chip key and a signature over it
            assert now[name]["readable"] == then[name]["readable"]
    with pytest.raises(FileExistsError):
        write_images(tmp_path / "now")


def test_an_image_of_a_later_form_is_refused() -> None:
    image = bytearray(raw(IMAGES[0]))
    image[8:10] = b"\x7f\xff"
    with pytest.raises(ImageError, match="image-version"):
        read_image("blank", bytes(image))
