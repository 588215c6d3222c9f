"""A synthetic delivery on disk: good, or damaged by one of every defect."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Final

from personalization.errors import PersonalizationError
from personalization.intake.applicant import Severity
from personalization.intake.delivery import DeliveryName
from personalization.intake.delivery_writer import TableFormat, pack_delivery
from personalization.intake.sample.defects import Planted, plant_defects
from personalization.intake.sample.residents import FIRST_ISSUE, RUIAN, Draft, Residents

PLANTED_FILE: Final = "planted.json"
_FIRST_ROW: Final = 2  # below the headings


def write_sample(
    directory: Path,
    count: int,
    seed: int = 1,
    *,
    damaged: bool = False,
    format: str = TableFormat.XLSX,  # noqa: A002 - what the command line calls it
    area_code: str = RUIAN,
    issued: date = FIRST_ISSUE,
) -> Path:
    """Write a delivery of synthetic residents.

    Args:
        directory: where to; made when missing.
        count: residents.
        seed: the same seed gives the same bytes.
        damaged: plant one of every defect and list them in `planted.json` beside the delivery.
        format: of the table, a `TableFormat`; defects can be planted in .xlsx only.
        area_code: six digits, the area that delivers.
        issued: first of the 60 days on which the permits are issued. A card takes dates until 60 days after its own.

    Returns:
        The path of the delivery.

    Raises:
        PersonalizationError: `sample-too-small` when ``count`` has no room for every defect, `sample-format`.
    """
    if count < 1:
        raise PersonalizationError("sample-too-small", exit_code=2, count=count, least=1)
    try:
        form = TableFormat(format)
    except ValueError as error:
        raise PersonalizationError("sample-format", exit_code=2, format=format) from error
    residents = Residents(seed, area_code, issued)
    drafts = [residents.draw(index) for index in range(count)]
    planted: tuple[Planted, ...] = ()
    declared = count
    if damaged:
        if form is not TableFormat.XLSX:
            raise PersonalizationError("sample-format", exit_code=2, format=form.value)
        damage = plant_defects(drafts, seed, _FIRST_ROW)
        planted, declared = damage.planted, damage.declared_count
    name = DeliveryName(area_code, 1, count, declared)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.zip"
    path.write_bytes(_pack(name, drafts, form))
    if damaged:
        (directory / PLANTED_FILE).write_text(_listing(path, planted), "utf-8")
    return path


def _pack(name: DeliveryName, drafts: list[Draft], form: TableFormat) -> bytes:
    return pack_delivery(
        name,
        [draft.cells for draft in drafts if draft.cells],
        [draft.residence for draft in drafts if draft.residence is not None],
        [picture for draft in drafts for picture in draft.pictures],
        form,
    )


def _listing(path: Path, planted: tuple[Planted, ...]) -> str:
    entries = [
        {
            "rule": defect.rule,
            "row": defect.row,
            "column": int(defect.column),
            "severity": defect.severity.value,
            "rejects": defect.severity is Severity.ERROR,
        }
        for defect in planted
    ]
    return json.dumps({"file": path.name, "planted": entries}, ensure_ascii=False, indent=1) + "\n"
