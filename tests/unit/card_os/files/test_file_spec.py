from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.files.life_cycle import CREATION_STATES
from card_os.files.spec import (
    MODES,
    AccessMode,
    FileSpec,
    FileStructure,
    decode_rules,
    encode_rules,
)
from card_os.iso7816.errors import NcInconsistentWithTlv, WrongData
from card_os.security.access import ALWAYS, NEVER, AccessRule

RULES = st.dictionaries(
    st.sampled_from(MODES),
    st.lists(st.integers(0, 0xFFFF_FFFF), max_size=4).map(lambda masks: AccessRule(tuple(masks))),
)
FIDS = st.integers(1, 0xFFFE).filter(lambda fid: fid not in (0x3F00, 0x3FFF))
TRANSPARENT = st.builds(
    FileSpec,
    fid=FIDS,
    structure=st.just(FileStructure.TRANSPARENT),
    size=st.integers(0, 65_535),
    sfi=st.integers(0, 30),
    rules=RULES,
    life_cycle=st.sampled_from(sorted(set(CREATION_STATES.values()))),
)


@st.composite
def record_files(draw: st.DrawFn) -> FileSpec:
    length, count = draw(st.integers(1, 255)), draw(st.integers(1, 254))
    return FileSpec(
        fid=draw(FIDS),
        structure=draw(
            st.sampled_from([FileStructure.LINEAR_FIXED, FileStructure.LINEAR_VARIABLE, FileStructure.CYCLIC])
        ),
        size=length * count,
        sfi=draw(st.integers(0, 30)),
        record_length=length,
        record_count=count,
        rules=draw(RULES),
    )


DFS = st.builds(FileSpec, fid=FIDS, structure=st.just(FileStructure.DF), rules=RULES)


@given(st.one_of(TRANSPARENT, record_files(), DFS))
def test_control_parameters_round_trip(spec: FileSpec) -> None:
    assert FileSpec.parse(spec.encode()) == spec


def test_the_template_of_a_transparent_file() -> None:
    """7.4.3, table 10: 80 size, 82 descriptor, 83 identifier, 88 short identifier in b8-b4, 8A life cycle, 86 rules."""
    spec = FileSpec(0x0101, FileStructure.TRANSPARENT, 0x0400, 1, rules={AccessMode.READ: AccessRule((0x105,))})
    assert spec.encode().hex().upper() == (
        "6219" + "80020400" + "820101" + "83020101" + "880108" + "8A0105" + "8606" + "01" + "01" + "00000105"
    )
    assert spec.encode(with_size=False, tag=0x6F)[:5].hex() == "6f15820101"


def test_the_descriptor_of_a_record_file() -> None:
    spec = FileSpec(0x0202, FileStructure.LINEAR_FIXED, 384, 12, record_length=32, record_count=12)
    assert bytes.fromhex("8206 02 21 0020 000C") in spec.encode()


@pytest.mark.parametrize(
    ("fid", "tag_88", "sfi"),
    [
        ("0105", "", 5),  # no tag 88: the five low bits of the identifier
        ("011F", "", 0),  # 31 is no short identifier
        ("0120", "", 0),
        ("0105", "8800", 0),  # empty tag 88: none
        ("0105", "8801A8", 21),
    ],
)
def test_where_the_short_identifier_comes_from(fid: str, tag_88: str, sfi: int) -> None:
    body = bytes.fromhex("80020010820101" + "8302" + fid + tag_88)
    assert FileSpec.parse(b"\x62" + bytes((len(body),)) + body).sfi == sfi


@pytest.mark.parametrize("descriptor", ["8205022100200C", "820602210020000C", "82060241002000" + "0C"])
def test_the_count_has_one_byte_or_two(descriptor: str) -> None:
    body = bytes.fromhex(descriptor + "83020202")
    spec = FileSpec.parse(b"\x62" + bytes((len(body),)) + body)
    assert (spec.record_length, spec.record_count, spec.size) == (32, 12, 384)


@pytest.mark.parametrize(
    "body",
    [
        "",  # nothing
        "80020010820101",  # no identifier
        "8002001083020101",  # no descriptor
        "82010183020101",  # transparent without a size
        "8002001082010383020101",  # structure 3 is not known here
        "80020010820083020101",  # empty descriptor
        "800200108201018301AA",  # identifier of one byte
        "8002001082010183023F00",  # reserved
        "8002001082010183020000",
        "800200108201018302FFFF",
        "8002001082010183023FFF",
        "8003010000820101830201018800",  # 65,536 bytes
        "80020010820101830201018801F8",  # short identifier 31
        "8002001082010183020101880100",  # short identifier 0
        "8002001082010183020101880208AA",  # two bytes
        "82010283020101",  # records without length and count
        "8206022100000001" + "83020101",  # record length 0
        "8206022101000001" + "83020101",  # record length 256
        "82060221002000FF" + "83020101",  # 255 records
        "800200108206022100200002" + "83020101",  # size is not 64
        "80020010820101830201018A010C",  # life cycle that files do not have here
        "80020010820101830201018603010100",  # rule cut short
        "80020010820101830201018602" + "8000",  # no such mode
        "80020010820101830201018602" + "0000",  # mode without a bit
    ],
)
def test_impossible_parameters(body: str) -> None:
    raw = bytes.fromhex(body)
    with pytest.raises(WrongData):
        FileSpec.parse(b"\x62" + bytes((len(raw),)) + raw)


@pytest.mark.parametrize("raw", ["", "62", "6205", "62018000", "620080"])
def test_malformed_templates(raw: str) -> None:
    with pytest.raises(NcInconsistentWithTlv):
        FileSpec.parse(bytes.fromhex(raw))


def test_another_template_is_refused() -> None:
    with pytest.raises(WrongData):
        FileSpec.parse(bytes.fromhex("6F00"))


@given(st.binary(max_size=60))
def test_any_template_is_read_or_refused(raw: bytes) -> None:
    try:
        spec = FileSpec.parse(raw)
    except (NcInconsistentWithTlv, WrongData):
        return
    assert FileSpec.parse(spec.encode()) == spec


def test_a_mode_that_is_not_listed_is_never() -> None:
    spec = FileSpec(1, FileStructure.TRANSPARENT, 1, rules={AccessMode.READ: ALWAYS})
    assert spec.rule(AccessMode.READ) == ALWAYS
    assert spec.rule(AccessMode.UPDATE) == NEVER


def test_one_mode_byte_may_name_several_modes() -> None:
    rules = decode_rules(bytes.fromhex("07" + "0100000000" + "08" + "00"))
    assert rules[AccessMode.APPEND] == ALWAYS
    assert rules[AccessMode.DELETE] == NEVER
    assert decode_rules(encode_rules(rules)) == rules
