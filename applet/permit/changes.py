"""PUT DATA DF25: changes of several files in one transaction.

What a desk does to a permit concerns more than one file: an endorsement is a record and a new due date. The card takes
all of it or nothing.

```
repeated   offset 0  2  file identifier
           offset 2  2  offset in the file; of a record file record number less one, times the record length
           offset 4  1  bytes that follow, 1 to 255
           offset 5     bytes
```

Each file's own rule for updating decides, as for UPDATE BINARY and UPDATE RECORD.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from card_os.applet_api import explain
from card_os.iso7816.errors import ConditionsNotSatisfied, FileNotFound, SecurityStatusNotSatisfied, WrongData

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

CHANGES: Final = 0xDF25
"""Tag of PUT DATA."""

_HEADER: Final = 5


@dataclass(frozen=True, slots=True)
class _Change:
    fid: int
    offset: int
    content: bytes = field(repr=False)


def put_changes(context: Context, command: CommandApdu) -> bytes:
    """Change several files, all or none.

    Raises:
        WrongData: 6A80, no change, or one that is cut short.
        FileNotFound: 6A82, no such file.
        SecurityStatusNotSatisfied: 6982, a file that may not be updated with these proofs.
        ConditionsNotSatisfied: 6985, a file that is deactivated or terminated.
        CardError: what writing itself refuses, such as 6B00 outside the file.
    """
    changes = _parse(command.data)
    files, proofs = context.files, context.proofs
    with context.store.transaction():
        for change in changes:
            file = files.find(change.fid)
            if file is None:
                raise FileNotFound(f"no file {change.fid:04X}")
            if not file.update_rule.allows(proofs):
                raise SecurityStatusNotSatisfied(explain(file.update_rule, proofs))
            if file.blocked:
                raise ConditionsNotSatisfied("the file is deactivated or terminated")
            files.write(file, change.offset, change.content)
    return b""


def _parse(data: bytes) -> list[_Change]:
    changes: list[_Change] = []
    at = 0
    while at < len(data):
        header = data[at : at + _HEADER]
        if len(header) < _HEADER or not header[-1]:
            raise WrongData("a change is cut short")
        end = at + _HEADER + header[-1]
        if end > len(data):
            raise WrongData("a change is cut short")
        fid, offset = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:4], "big")
        changes.append(_Change(fid, offset, data[at + _HEADER : end]))
        at = end
    if not changes:
        raise WrongData("there is nothing to change")
    return changes
