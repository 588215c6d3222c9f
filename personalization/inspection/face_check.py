"""What is printed on a card against what is in its chip."""

from __future__ import annotations

import datetime as dt
from typing import Final

from personalization.inspection.checks import CheckList
from personalization.inspection.comparison import BANK, IDENTITY, RESIDENCE, TlvFile, objects_of
from personalization.inspection.masking import Masking
from personalization.intake.code_tables import code_tables
from personalization.preparation.faces import CardFace

_PRINTED_AS_IT_IS: Final = (
    ("name", 0x5F20, Masking.NAME),
    ("citizen_number", 0xDF02, Masking.NUMBER),
    ("registered_address", 0x5F42, Masking.PLACE),
    ("issuing_authority", 0xDF05, Masking.OPEN),
)
_PRINTED_DATES: Final = (("birth_date", 0x5F2B, Masking.BIRTH_DATE), ("issue_date", 0x5F26, Masking.OPEN))
_SEX: Final = 0x5F35
_ETHNIC_GROUP: Final = 0xDF01
_PERMIT_NUMBER: Final = 0xDF03
_HOTLINE: Final = 0xDF06
_CURRENT_ADDRESS: Final = 0xDF11
_ACCOUNT: Final = 0x5A


def compare_face(
    checks: CheckList, face: CardFace, identity: bytes, residence: bytes, bank: bytes, portrait: bytes
) -> None:
    """Every printed text, the barcode and the picture.

    Args:
        checks: where it is noted.
        face: the row's face data.
        identity: content of EF.IDENTITY.
        residence: content of EF.RESIDENCE.
        bank: content of EF.BANK.
        portrait: content of EF.PORTRAIT.
    """
    chip = _texts(IDENTITY, identity)
    for name, tag, masking in _PRINTED_AS_IT_IS:
        checks.compare(f"face.{name}", face.front.get(name), chip.get(tag), masking)
    for name, tag, masking in _PRINTED_DATES:
        checks.compare(f"face.{name}", face.front.get(name), _date(chip.get(tag)), masking)
    tables = code_tables()
    sex = tables.sexes.get(chip.get(_SEX, ""))
    printed_sex = face.front.get("sex")
    # Documents print 男 and 女 where the table says 男性 and 女性.
    checks.add("face.sex", bool(sex and printed_sex) and sex in (printed_sex, f"{printed_sex}性"))
    group = tables.ethnic_groups.get(chip.get(_ETHNIC_GROUP, ""))
    checks.compare("face.ethnic_group", face.front.get("ethnic_group"), group, Masking.HIDDEN)
    address = _texts(RESIDENCE, residence).get(_CURRENT_ADDRESS)
    checks.compare("face.current_address", face.front.get("current_address"), address, Masking.PLACE)
    printed_account = face.front.get("bank_account")
    account = _texts(BANK, bank).get(_ACCOUNT)
    digits = printed_account.replace(" ", "") if printed_account is not None else None
    checks.compare("face.bank_account", digits, account, Masking.NUMBER)
    checks.add("face.payment_mark", (face.payment_mark is not None) == (account is not None), face.payment_mark or "")
    permit_number = chip.get(_PERMIT_NUMBER)
    checks.compare("face.permit_number", face.back.get("permit_number"), permit_number, Masking.NUMBER)
    checks.compare("face.service_hotline", face.back.get("service_hotline"), chip.get(_HOTLINE), Masking.OPEN)
    checks.compare("face.barcode", face.barcode, permit_number, Masking.NUMBER)
    checks.add("face.portrait", bool(portrait) and face.portrait == portrait)


def _texts(file: TlvFile, content: bytes) -> dict[int, str]:
    return {tag: value.decode("utf-8", errors="replace") for tag, value in (objects_of(file, content) or {}).items()}


def _date(digits: str | None) -> str | None:
    try:
        day = dt.datetime.strptime(digits or "", "%Y%m%d").replace(tzinfo=dt.UTC)
    except ValueError:
        return None
    return f"{day.year}年{day.month}月{day.day}日"
