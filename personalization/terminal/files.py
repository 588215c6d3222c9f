"""Reading and writing the files of a selected application, over any channel.

Source: ISO/IEC 7816-4:2020, clauses 11.3 (BINARY commands) and 11.4 (RECORD commands).
"""

from __future__ import annotations

from typing import Final

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from personalization.profile_rows import FileRow
from personalization.terminal.channel import CardChannel, CardRefused, transmit

_READ_BINARY: Final = 0xB0
_READ_RECORD: Final = 0xB2
_UPDATE_BINARY: Final = 0xD6
_UPDATE_RECORD: Final = 0xDC
_APPEND_RECORD: Final = 0xE2
_SHORT_IDENTIFIER: Final = 0x80
_BY_NUMBER: Final = 0x04
_SFI_SHIFT: Final = 3
_MAX_RECORDS: Final = 254
_MAX_OFFSET: Final = 0x7FFF


class CardFiles:
    """Files by their row in the profile.

    Args:
        channel: where commands go; its security state decides what is allowed.
    """

    __slots__ = ("_channel",)

    def __init__(self, channel: CardChannel) -> None:
        self._channel = channel

    def read(self, row: FileRow) -> bytes:
        """The whole content of a transparent file, in as few commands as the link allows.

        Raises:
            CardRefused: such as 6982.
        """
        content = bytearray()
        p1, p2 = _SHORT_IDENTIFIER | row.sfi, 0
        while len(content) <= _MAX_OFFSET:
            wanted = self._channel.max_read
            if row.size is not None:
                wanted = min(wanted, row.size - len(content))
            response = self._channel.exchange(CommandApdu(0x00, _READ_BINARY, p1, p2, b"", wanted))
            if response.sw == SW.WRONG_PARAMETERS and content:
                break
            if response.sw not in (SW.OK, SW.END_OF_FILE):
                raise CardRefused(f"READ BINARY {row.name}", response.sw)
            content += response.data
            if response.sw == SW.END_OF_FILE or len(response.data) < wanted or len(content) == row.size:
                break
            p1, p2 = divmod(len(content), 256)
        return bytes(content)

    def read_records(self, row: FileRow) -> list[bytes]:
        """All records in use of a record file, in order.

        Raises:
            CardRefused: any status but "record not found" after the last.
        """
        records: list[bytes] = []
        p2 = row.sfi << _SFI_SHIFT | _BY_NUMBER
        for number in range(1, (row.records or _MAX_RECORDS) + 1):
            command = CommandApdu(0x00, _READ_RECORD, number, p2, b"", row.record_size or self._channel.max_read)
            response = self._channel.exchange(command)
            if response.sw == SW.RECORD_NOT_FOUND:
                break
            if response.sw != SW.OK:
                raise CardRefused(f"READ RECORD {row.name}", response.sw)
            records.append(response.data)
        return records

    def update(self, row: FileRow, content: bytes, offset: int = 0) -> None:
        """Write into a transparent file, in as few commands as the link allows.

        Raises:
            CardRefused: such as 6982, 6B00.
        """
        step = self._channel.max_write
        for at in range(0, len(content), step):
            place = offset + at
            if place <= 0xFF:  # noqa: PLR2004 - what P2 holds beside a short identifier
                p1, p2 = _SHORT_IDENTIFIER | row.sfi, place
            else:
                if at == 0:
                    self._select_by_reading(row)
                p1, p2 = divmod(place, 256)
            part = content[at : at + step]
            transmit(self._channel, CommandApdu(0x00, _UPDATE_BINARY, p1, p2, part), f"UPDATE BINARY {row.name}")

    def _select_by_reading(self, row: FileRow) -> None:
        command = CommandApdu(0x00, _READ_BINARY, _SHORT_IDENTIFIER | row.sfi, 0, b"", 1)
        transmit(self._channel, command, f"READ BINARY {row.name}")

    def update_record(self, row: FileRow, number: int, content: bytes) -> None:
        """Replace record ``number``, 1..254.

        Raises:
            CardRefused: such as 6982, 6A83.
        """
        command = CommandApdu(0x00, _UPDATE_RECORD, number, row.sfi << _SFI_SHIFT | _BY_NUMBER, content)
        transmit(self._channel, command, f"UPDATE RECORD {row.name}")

    def append_record(self, row: FileRow, content: bytes) -> None:
        """Add a record after the last.

        Raises:
            CardRefused: such as 6982, 6A84 when the file is full.
        """
        command = CommandApdu(0x00, _APPEND_RECORD, 0, row.sfi << _SFI_SHIFT, content)
        transmit(self._channel, command, f"APPEND RECORD {row.name}")
