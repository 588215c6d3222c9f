"""Wear of a card file, and its life at a day of given use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from card_os.hardware.image import ImageError, NvmImage
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.wear import LifeProjection, MemoryWear, measure_wear, project_life
from permitcard.products import boot
from personalization.errors import PersonalizationError
from reader_bridge.connection import ReaderError

if TYPE_CHECKING:
    from card_os.hardware.nvm import Nvm


def read_day(path: Path) -> tuple[bytes, ...]:
    """Commands of a day: one APDU a line in hexadecimal, blanks allowed, after # a remark.

    Raises:
        PersonalizationError: "wear-day", the file cannot be read, or a line is no APDU.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise PersonalizationError("wear-day", exit_code=2, path=path, line=0) from error
    commands: list[bytes] = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            commands.append(bytes.fromhex(text))
        except ValueError as error:
            raise PersonalizationError("wear-day", exit_code=2, path=path, line=number) from error
    if not commands:
        raise PersonalizationError("wear-day", exit_code=2, path=path, line=0)
    return tuple(commands)


def examine_wear(path: Path, day: tuple[bytes, ...] = ()) -> tuple[MemoryWear, LifeProjection | None]:
    """Wear of a card file, which is not changed, and its life when commands of a day are given.

    Raises:
        ReaderError: "card-damaged", or a code of `ImageError`.
    """

    def use(nvm: Nvm) -> None:
        port = boot(nvm).contact
        port.power_on()
        for command in day:
            port.process(command)
        port.power_off()

    try:
        with NvmImage.open(path) as image:
            return measure_wear(image), project_life(image, use) if day else None
    except ImageError as error:
        raise ReaderError(error.code, **error.parameters) from error
    except MemoryFailure as error:
        raise ReaderError("card-damaged", path=path, reason=error.reason) from error


def hottest_page(path: Path) -> int | None:
    """Programming cycles of the most used page of a card file; None when somebody has it open, or it is damaged."""
    try:
        with NvmImage.open(path) as image:
            return max(image.nvm().wear, default=0)
    except ImageError:
        return None


def wear_document(wear: MemoryWear, life: LifeProjection | None) -> dict[str, object]:
    """For programs."""
    chip = wear.chip
    return {
        "chip": {"name": chip.name, "kind": chip.kind.name.lower(), "page_bytes": chip.page_size, "pages": chip.pages},
        "endurance": chip.endurance,
        "free_bytes": wear.free,
        "spare_blocks": wear.spares,
        "pages": [{"page": page.page, "cycles": page.cycles, "use": page.use.value} for page in wear.pages],
        "objects": [
            {
                "owner": item.owner,
                "kind": item.kind.lower(),
                "identifier": f"{item.identifier:04X}",
                "size": item.size,
                "pages": list(item.pages),
                "cycles": item.cycles,
            }
            for item in wear.objects
        ],
        "life": None
        if life is None
        else {
            "days_run": life.days_run,
            "cycles_a_day": life.cycles_a_day,
            "hottest_page": life.hottest_page,
            "days": life.days,
            "days_levelled": life.days_levelled,
        },
    }
