"""GET DATA and PUT DATA on a DF and on an EF of TLV structure.

Both keep BER-TLV data objects in their body, behind two bytes with the length of what is in use; the size of the file
is the room for them. Reading them asks the file's rule of reading, putting them its rule of updating.

Source: ISO/IEC 7816-4:2020, clauses 11.5.1 (GET DATA), 11.5.2 (PUT DATA), 8.3 (tag list) and 11.3.1 (file in P1-P2 of
the odd instructions).
"""

from __future__ import annotations

from typing import Final

from card_os.applet_api import Context
from card_os.files.checks import require_active, require_read, require_update
from card_os.files.directory import File
from card_os.files.spec import APPLICATION_DF, MAX_SFI, OBJECT_LENGTH, FileStructure
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import (
    FunctionNotSupported,
    IncompatibleFileStructure,
    NcInconsistentWithTlv,
    NoCurrentEf,
    NotEnoughMemory,
    ReferenceDataNotFound,
    WrongData,
    WrongLength,
)
from card_os.iso7816.tlv import Tlv

_EVERY_OBJECT: Final = 0x00FF
_CURRENT_EF: Final = 0x0000
_CURRENT_DF: Final = 0x3FFF
_TAG_LIST: Final = 0x5C
_FIRST_ONE_BYTE_TAG: Final = 0x40
_LAST_ONE_BYTE_TAG: Final = 0xFE
_FIRST_TWO_BYTE_TAG: Final = 0x4000


def get_data(context: Context, command: CommandApdu) -> bytes:
    """GET DATA (CA): the value of the object whose tag is P1-P2; 00FF gives all objects, with tag and length.

    Raises:
        ReferenceDataNotFound: 6A88, no such object.
        FunctionNotSupported: 6A81, P1-P2 is no BER-TLV tag.
    """
    file = _current(context)
    require_read(context, command, file)
    if command.data or not command.ne:
        raise WrongLength("GET DATA has Le and no data")
    p1p2 = command.p1 << 8 | command.p2
    if p1p2 == _EVERY_OBJECT:
        return tlv.encode_all(_objects(context, file))
    tag = _tag(p1p2)
    for item in _objects(context, file):
        if item.tag == tag:
            return item.value
    raise ReferenceDataNotFound("no such data object")


def get_data_odd(context: Context, command: CommandApdu) -> bytes:
    """GET DATA (CB): the objects that a tag list (5C) names, an empty one all, from the file in P1-P2.

    P1-P2 0000 is the current EF, 3FFF the current DF, 0001 to 001E a short identifier, else a file identifier.

    Raises:
        ReferenceDataNotFound: 6A88, one of the objects is not there.
        FunctionNotSupported: 6A81, a header list.
    """
    file = _named(context, command.p1 << 8 | command.p2)
    require_read(context, command, file)
    if not command.ne:
        raise WrongLength("GET DATA has Le")
    try:
        lists = tlv.parse_all(command.data)
    except tlv.TlvError as error:
        raise NcInconsistentWithTlv(str(error)) from error
    if len(lists) != 1:
        raise WrongData("one tag list")
    if lists[0].tag != _TAG_LIST:
        raise FunctionNotSupported("tag lists only")
    objects = _objects(context, file)
    wanted = _tags(lists[0].value)
    if not wanted:
        return tlv.encode_all(objects)
    by_tag = {item.tag: item for item in objects}
    if not by_tag.keys() >= set(wanted):
        raise ReferenceDataNotFound("no such data object")
    return tlv.encode_all(by_tag[tag] for tag in wanted)


def put_data(context: Context, command: CommandApdu) -> bytes:
    """PUT DATA (DA): the object whose tag is P1-P2 gets the data as its value; it is added or replaced.

    Raises:
        NotEnoughMemory: 6A84, there is no room in the file; nothing is changed.
        NcInconsistentWithTlv: 6A85, the value of a constructed object is not well formed.
        FunctionNotSupported: 6A81, P1-P2 is no BER-TLV tag.
    """
    file = _current(context)
    require_update(context, command, file)
    if not command.data:
        raise WrongLength("no value")
    _put(context, file, [Tlv(_tag(command.p1 << 8 | command.p2), command.data)])
    return b""


def put_data_odd(context: Context, command: CommandApdu) -> bytes:
    """PUT DATA (DB): data objects for the file in P1-P2, which is named as in `get_data_odd`; all or none.

    Raises:
        NotEnoughMemory: 6A84.
        NcInconsistentWithTlv: 6A85, no well-formed objects.
    """
    file = _named(context, command.p1 << 8 | command.p2)
    require_update(context, command, file)
    if not command.data:
        raise WrongLength("no data objects")
    try:
        objects = tlv.parse_all(command.data)
    except tlv.TlvError as error:
        raise NcInconsistentWithTlv(str(error)) from error
    _put(context, file, objects)
    return b""


def _tag(p1p2: int) -> int:
    """The tag that P1-P2 is: one byte from 40 on, or two from 4000 on."""
    if not (_FIRST_ONE_BYTE_TAG <= p1p2 <= _LAST_ONE_BYTE_TAG or p1p2 >= _FIRST_TWO_BYTE_TAG):
        raise FunctionNotSupported("P1-P2 is no tag of a BER-TLV object")
    try:
        _, end = tlv.parse_tag(tlv.encode_tag(p1p2), 0)
    except tlv.TlvError as error:
        raise FunctionNotSupported("P1-P2 is no tag of a BER-TLV object") from error
    if end != len(tlv.encode_tag(p1p2)):
        raise FunctionNotSupported("P1-P2 is no tag of a BER-TLV object")
    return p1p2


def _tags(raw: bytes) -> list[int]:
    tags, offset = [], 0
    try:
        while offset < len(raw):
            tag, offset = tlv.parse_tag(raw, offset)
            tags.append(tag)
    except tlv.TlvError as error:
        raise WrongData("no tag list") from error
    return tags


def _current(context: Context) -> File:
    """The current EF when it is of TLV structure, else the current DF."""
    files = context.files
    file = files.current
    if file is None or file.structure is not FileStructure.TLV:
        file = files.current_df or files.root
    if file is None:
        raise ReferenceDataNotFound("the application keeps no data objects of its own")
    require_active(file)
    return file


def _named(context: Context, p1p2: int) -> File:
    files = context.files
    if p1p2 == _CURRENT_DF:
        file = files.current_df or files.root
        if file is None:
            raise ReferenceDataNotFound("the application keeps no data objects of its own")
    elif p1p2 == _CURRENT_EF:
        current = files.current
        if current is None:
            raise NoCurrentEf("no EF is selected")
        file = current
    elif p1p2 <= MAX_SFI:
        file = files.by_sfi(p1p2)
        files.select(file)
    else:
        df = files.current_df
        file = files.get(p1p2, APPLICATION_DF if df is None else df.identifier)
        if file.structure is FileStructure.TLV:
            files.select(file)
    if file.structure is not FileStructure.TLV and file.structure is not FileStructure.DF:
        raise IncompatibleFileStructure("neither a DF nor an EF of TLV structure")
    require_active(file)
    return file


def _objects(context: Context, file: File) -> list[Tlv]:
    if not file.size:
        return []
    store = context.store
    used = int.from_bytes(store.read(file.item, file.body, OBJECT_LENGTH), "big")
    return tlv.parse_all(store.read(file.item, file.body + OBJECT_LENGTH, used))


def _put(context: Context, file: File, objects: list[Tlv]) -> None:
    """Replace or add objects; what they were is never half of both."""
    for item in objects:
        if item.constructed:
            try:
                item.children()
            except tlv.TlvError as error:
                raise NcInconsistentWithTlv(str(error)) from error
    kept = {item.tag: item for item in _objects(context, file)}
    kept.update({item.tag: item for item in objects})
    content = tlv.encode_all(kept.values())
    if len(content) > file.size:
        raise NotEnoughMemory("the file has no room for these data objects")
    context.files.rewrite(file, 0, len(content).to_bytes(OBJECT_LENGTH, "big") + content)
