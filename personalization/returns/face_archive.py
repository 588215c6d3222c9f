"""Card faces for a printing house: a table of all text, and the pictures that it names, in one zip.

```
faces.csv, faces.xlsx     a row a card; the same twice, for programs and for offices
portraits/00002.jpg       the portrait that is on the chip; the number is the row
barcodes/00002.svg        the barcode of the back
```
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from typing import BinaryIO, Final

from personalization.preparation.faces import CardFace
from personalization.preparation.printing import barcode_svg
from personalization.returns.files import write_csv, write_xlsx
from personalization.returns.tables import Table

FRONT: Final = {
    "name": "姓名",
    "sex": "性别",
    "ethnic_group": "民族",
    "birth_date": "出生日期",
    "citizen_number": "公民身份号码",
    "registered_address": "常住户口所在地",
    "current_address": "现居住地址",
    "issuing_authority": "签发机关",
    "issue_date": "签发日期",
    "bank_account": "银行卡号",
}
"""Columns of what is printed on the front, by field of `CardFace`."""

BACK: Final = {"title": "标题", "permit_number": "居住证号", "service_hotline": "服务热线"}
"""The same for the back."""

_HEADINGS: Final = ("行号", *FRONT.values(), *BACK.values(), "条码内容", "支付标识", "照片文件", "条码文件")


def pack_faces(faces: Iterable[CardFace], stream: BinaryIO) -> None:
    """Write the zip.

    Args:
        faces: in the order of the table.
        stream: binary, seekable.
    """
    rows: list[tuple[str, ...]] = []
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for face in faces:
            portrait, barcode = f"portraits/{face.row_number:05d}.jpg", f"barcodes/{face.row_number:05d}.svg"
            archive.writestr(portrait, face.portrait, zipfile.ZIP_STORED)
            archive.writestr(barcode, barcode_svg(face.barcode))
            rows.append(
                (
                    str(face.row_number),
                    *(face.front.get(field, "") for field in FRONT),
                    *(face.back.get(field, "") for field in BACK),
                    face.barcode,
                    face.payment_mark or "",
                    portrait,
                    barcode,
                )
            )
        table = Table("faces", _HEADINGS, rows)
        archive.writestr("faces.csv", write_csv(table))
        archive.writestr("faces.xlsx", write_xlsx(table))
