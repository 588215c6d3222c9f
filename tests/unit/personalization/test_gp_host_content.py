"""INSTALL, LOAD, PUT KEY and STORE DATA in all their forms, as bytes (GPC 2.3.1, clause 11)."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from personalization.errors import PersonalizationError
from personalization.globalplatform import content
from personalization.globalplatform.data_key import AesDataKey, DesDataKey
from personalization.globalplatform.key_loading import (
    CurveParameters,
    KeyType,
    NewKey,
    check_value,
    delete_key,
    put_keys_answer,
    put_new_keys,
    reference,
)
from personalization.globalplatform.load_file import (
    DapBlock,
    ImportedPackage,
    LoadFile,
    encode_load_file,
    load_commands,
)
from personalization.globalplatform.store_data import (
    DataGrouping,
    Padding,
    StoreDataFlag,
    encode_dgi,
    encode_grouping,
    grouped_blocks,
    store_objects,
)

PACKAGE = bytes.fromhex("F05A4A4A5A01")
APPLET = bytes.fromhex("F05A4A4A5A0101")
DOMAIN = bytes.fromhex("A000000151535041")
AES_KEY = AesDataKey(bytes(range(16)))
DES_KEY = DesDataKey(bytes(range(16)))


def hexed(command: CommandApdu) -> str:
    return command.encode().hex().upper()


# ---- INSTALL (clause 11.5)


def test_install_for_load() -> None:
    assert hexed(content.install_for_load(PACKAGE)) == "80E602000B06F05A4A4A5A010000000000"
    full = content.install_for_load(
        PACKAGE,
        domain_aid=DOMAIN,
        digest=bytes(20),
        parameters=content.system_parameters(
            [(0xC6, content.memory_quota(32_767)), (0xC8, content.memory_quota(32_768))]
        ),
        token=b"\x01\x02",
    )
    assert full.data.hex().upper() == (
        "06F05A4A4A5A0108A00000015153504114" + "00" * 20 + "0CEF0AC6027FFFC80400008000020102"
    )


def test_install_fields_above_127_bytes_have_ber_lengths() -> None:
    command = content.install(
        package_aid=PACKAGE, module_aid=APPLET, instance_aid=APPLET, parameters=bytes(200), token=bytes(128)
    )
    assert command.data[23:30].hex() == "010081cbc981c8"
    assert command.data[-131:-128].hex() == "008180"
    assert command.data[-128:] == bytes(128)


def test_the_other_purposes_of_install() -> None:
    assert hexed(content.extradite(APPLET, DOMAIN)) == "80E610001508A0000001515350410007F05A4A4A5A010100000000"
    assert hexed(content.update_registry(APPLET, privileges=b"\x00\x00\x20")) == (
        "80E6400010000007F05A4A4A5A010103000020000000"
    )
    assert (
        hexed(content.update_registry(parameters=bytes.fromhex("EF03D90110"))) == "80E640000B0000000005EF03D901100000"
    )
    assert content.install(package_aid=PACKAGE, module_aid=APPLET, instance_aid=APPLET, combined=True)[2:4] == (
        0x0E,
        0x03,
    )
    assert content.install_for_load(PACKAGE, combined=True)[2:4] == (0x0E, 0x01)
    assert content.make_selectable(APPLET, b"\x04")[2:5] == (0x08, 0x00, bytes.fromhex("000007F05A4A4A5A010101040000"))


def test_delete_with_a_token() -> None:
    assert hexed(content.delete(APPLET, token=b"\xaa")) == "80E400000C4F07F05A4A4A5A01019E01AA00"
    assert hexed(content.delete(PACKAGE, related=True)) == "80E40080084F06F05A4A4A5A0100"


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (["security-domain", "authorized-management"], "804000"),
        (["mandated-dap-verification"], "C10000"),
        (["cvm-management", "global-registry", "contactless-self-activation"], "020410"),
    ],
)
def test_privileges_have_names(names: list[str], value: str) -> None:
    raw = content.privileges_of(names)
    assert raw.hex().upper() == value
    assert set(names) <= set(content.privilege_names(raw))


def test_one_byte_of_privileges() -> None:
    assert content.privilege_names(b"\x9e") == [
        "security-domain",
        "card-lock",
        "card-terminate",
        "card-reset",
        "cvm-management",
    ]
    with pytest.raises(ValueError, match="fly"):
        content.privileges_of(["fly"])


# ---- PUT KEY (clause 11.8)


def test_aes_key_under_aes() -> None:
    key = NewKey.symmetric(KeyType.AES, bytes(range(24)))
    field = key.data_field(AES_KEY)
    assert field[:3].hex() == "882118"
    plain = Cipher(AES(bytes(range(16))), CBC(bytes(16))).decryptor().update(field[3:35])
    assert plain[:24] == bytes(range(24))
    assert field[35:] == b"\x03" + check_value(KeyType.AES, bytes(range(24)))


def test_des_key_under_des() -> None:
    """Table 11-71: a whole number of blocks goes without the length of the clear value."""
    value = bytes(range(0x40, 0x50))
    field = NewKey.symmetric(KeyType.DES, value).data_field(DES_KEY)
    plain = Cipher(TripleDES(bytes(range(16)) + bytes(range(8))), ECB()).decryptor().update(field[2:18])  # noqa: S305
    assert (field[:2].hex(), plain) == ("8010", value)
    # The check value that every card list shows for the keys 40..4F.
    assert field[18:].hex().upper() == "038BAF47"


@pytest.mark.parametrize(("data_key", "block"), [(AES_KEY, 16), (DES_KEY, 8)])
@pytest.mark.parametrize("length", range(1, 50, 7))
def test_secret_components_of_any_length(data_key: AesDataKey | DesDataKey, block: int, length: int) -> None:
    """Table 11-70: the clear length comes first where padding is there, and always under an AES Key-DEK."""
    field = NewKey.symmetric(KeyType.HMAC_SHA1, bytes(length)).data_field(data_key)
    told = length % block != 0 or block == 16
    padded = -(-length // block) * block
    assert field[:2] == bytes((0x90, padded + told))
    assert field[2:3] == bytes((length,)) if told else True
    assert len(field) == 2 + told + padded + 1
    assert field[-1:] == b"\x00"


def test_public_keys_go_in_clear() -> None:
    rsa = NewKey.rsa_public(b"\xc1" * 128, b"\x01\x00\x01").data_field(AES_KEY)
    assert rsa == b"\xa1\x81\x80" + b"\xc1" * 128 + b"\xa0\x03\x01\x00\x01\x00"
    point = b"\x04" + bytes(64)
    assert NewKey.ecc(KeyType.ECC_PUBLIC, point, 0).data_field(AES_KEY) == b"\xb0\x41" + point + b"\xf0\x01\x00\x00"


def test_private_keys_do_not() -> None:
    scalar = bytes(range(1, 33))
    field = NewKey.ecc(KeyType.ECC_PRIVATE, scalar, 0x0123).data_field(AES_KEY)
    assert field[:3].hex() == "b12120"
    assert scalar not in field
    assert field[-5:].hex() == "f002812300"
    crt = NewKey.rsa_private_crt(*([b"\x11" * 64] * 5)).data_field(AES_KEY)
    assert [crt[start] for start in range(0, len(crt) - 1, 67)] == [0xA4, 0xA5, 0xA6, 0xA7, 0xA8]
    assert b"\x11" * 16 not in crt
    exponent = NewKey.rsa_private(b"\xc1" * 64, b"\x22" * 64).data_field(AES_KEY)
    assert b"\xc1" * 64 in exponent
    assert b"\x22" * 16 not in exponent


def test_curve_parameters() -> None:
    curve = CurveParameters(b"\x01", b"\x02", b"\x03", b"\x04\x05", b"\x06", b"\x01")
    assert NewKey.curve(0x10, curve).data_field(AES_KEY).hex() == "f00110b20101b30102b40103b5020405b60106b7010100"
    own = NewKey.ecc(KeyType.ECC_PUBLIC, b"\x04\x05", curve._replace(cofactor=b""))
    assert own.data_field(AES_KEY).hex() == "b0020405b20101b30102b40103b5020405b6010600"
    assert [reference(value).hex() for value in (0x00, 0x7F, 0x80, 0x1234)] == ["00", "7f", "8080", "9234"]


def test_usage_and_access_need_the_extended_format() -> None:
    """Table 11-69."""
    key = NewKey.symmetric(KeyType.AES, bytes(16), usage=b"\x18", access=b"\x01")
    field = key.data_field(AES_KEY)
    assert field[:4].hex() == "ff881110"
    assert field[20:] == b"\x03" + check_value(KeyType.AES, bytes(16)) + b"\x01\x18" + b"\x01\x01"


def test_put_key_of_one_and_of_several() -> None:
    key = NewKey.rsa_public(b"\xc1" * 64, b"\x03")
    single = put_new_keys(0x73, [key], AES_KEY, first_identifier=1)
    assert (single.p1, single.p2, single.data[0]) == (0x00, 0x01, 0x73)
    several = put_new_keys(
        0x30, [NewKey.symmetric(KeyType.AES, bytes(16))] * 2, AES_KEY, first_identifier=4, replace=0x2F
    )
    assert (several.p1, several.p2) == (0x2F, 0x84)
    assert (
        put_keys_answer(0x30, [NewKey.symmetric(KeyType.AES, bytes(16))]).hex()
        == "30" + check_value(KeyType.AES, bytes(16)).hex()
    )


def test_delete_key() -> None:
    assert hexed(delete_key(version=0x30)) == "80E4000003D2013000"
    assert hexed(delete_key(version=0x30, identifier=2)) == "80E4000006D00102D2013000"
    with pytest.raises(ValueError, match="key version"):
        delete_key()


def test_no_key_shows() -> None:
    key = NewKey.symmetric(KeyType.AES, bytes(range(0x41, 0x51)))
    assert "ABCD" not in repr(key)
    assert "4142" not in repr(key)


# ---- load files (clause 11.6)


def component(tag: int, content_: bytes) -> bytes:
    return bytes((tag,)) + len(content_).to_bytes(2, "big") + content_


HEADER = component(1, bytes.fromhex("DECAFFED 01 02 04 03 01") + bytes((len(PACKAGE),)) + PACKAGE)
IMPORT = component(4, bytes.fromhex("01 06 01 07 A0000000620101"))
APPLETS = component(3, bytes((1, len(APPLET))) + APPLET + b"\x00\x08")
METHOD = component(7, bytes(300))
CAP: Mapping[str, bytes] = {
    "META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n",
    "com/example/javacard/Applet.cap": APPLETS,
    "com/example/javacard/Header.cap": HEADER,
    "com/example/javacard/Import.cap": IMPORT,
    "com/example/javacard/Method.cap": METHOD,
    "com/example/javacard/Debug.cap": component(12, b"names"),
}


def zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "raw", [zipped(CAP), HEADER + IMPORT + APPLETS + METHOD + component(12, b"names")], ids=["cap", "ijc"]
)
def test_a_load_file(raw: bytes) -> None:
    load_file = LoadFile.parse(raw)
    assert load_file.aid == PACKAGE
    assert load_file.version == (1, 3)
    assert load_file.applets == (APPLET,)
    assert load_file.imports == (ImportedPackage(bytes.fromhex("A0000000620101"), 1, 6),)
    assert load_file.data_block == HEADER + IMPORT + APPLETS + METHOD
    assert load_file.digest() == hashlib.sha256(load_file.data_block).digest()
    assert load_file.digest("sha1") == hashlib.sha1(load_file.data_block, usedforsecurity=False).digest()


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("empty", b""),
        ("no header", IMPORT + APPLETS),
        ("cut short", (HEADER + METHOD)[:-1]),
        ("cut in the length", HEADER + b"\x07\x01"),
        ("twice", HEADER + HEADER),
        ("tag zero", HEADER + bytes(3)),
        ("AID too long", component(1, bytes.fromhex("DECAFFED 01 02 04 03 01 11") + bytes(17))),
        ("AID cut", component(1, bytes.fromhex("DECAFFED 01 02 04 03 01 07") + bytes(6))),
        ("applet cut", HEADER + component(3, b"\x02\x07" + APPLET + b"\x00\x08")),
        ("import empty", HEADER + component(4, b"\x01")),
        ("no zip", b"PK\x03\x04 nothing"),
        ("zip with a false length", zipped({"Header.cap": HEADER + b"\x00"})),
        ("zip with another component", zipped({"Header.cap": IMPORT})),
        ("zip with two headers", zipped({"a/Header.cap": HEADER, "b/Header.cap": HEADER})),
        ("zip without components", zipped({"README": b"none"})),
        ("zip bomb", zipped({"Header.cap": bytes(1 << 20)})),
    ],
)
def test_no_load_file(name: str, raw: bytes) -> None:
    with pytest.raises(PersonalizationError, match="load-file-malformed"):
        LoadFile.parse(raw, name)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_load_file_or_an_error(raw: bytes) -> None:
    try:
        LoadFile.parse(raw)
    except PersonalizationError as error:
        code = error.code
    else:
        code = ""
    assert code in ("", "load-file-malformed")


@given(st.integers(1, 2000), st.integers(10, 255))
def test_load_commands_join_to_the_load_file(length: int, max_data: int) -> None:
    load_file = encode_load_file(bytes(length))
    if len(load_file) > 256 * max_data:
        return
    blocks = load_commands(load_file, max_data)
    assert b"".join(block.data for block in blocks) == load_file
    assert [block.p2 for block in blocks] == list(range(len(blocks)))
    assert [block.p1 for block in blocks] == [0x00] * (len(blocks) - 1) + [0x80]
    assert {(block.cla, block.ins, block.ne) for block in blocks} == {(0x80, 0xE8, 256)}


def test_a_load_file_that_p2_cannot_count() -> None:
    with pytest.raises(PersonalizationError, match="too-many-blocks"):
        load_commands(bytes(257), 1)


def test_a_signed_and_a_ciphered_load_file() -> None:
    """Table 11-58; clause C.6."""
    signed = encode_load_file(b"\x01" * 200, [DapBlock(DOMAIN, b"\x55" * 8)])
    assert signed.hex().startswith("e2144f08a000000151535041c3085555555555555555c481c8")
    ciphered = encode_load_file(b"\x01" * 20, cipher_key=bytes(16), icv=b"\x09" * 16)
    assert ciphered.hex().startswith("d310" + "09" * 16 + "d420")
    plain = Cipher(AES(bytes(16)), CBC(b"\x09" * 16)).decryptor().update(ciphered[20:])
    assert plain == b"\x01" * 20 + b"\x80" + bytes(11)
    assert encode_load_file(b"", cipher_key=bytes(16))[:2] == b"\xd3\x10"


# ---- STORE DATA (clause 11.11)


@pytest.mark.parametrize(
    ("length", "padding", "sent"),
    [
        (16, Padding.ALWAYS, 24),
        (16, Padding.NEEDED, 16),
        (17, Padding.NEEDED, 24),
        (16, Padding.NONE, 16),
    ],
)
def test_padding_of_encrypted_groupings(length: int, padding: Padding, sent: int) -> None:
    encoded = encode_grouping(DataGrouping(0x8000, bytes(length), encrypted=True), DES_KEY, padding)
    assert encoded[2] == sent == len(encoded) - 3


def test_a_grouping_that_is_no_whole_number_of_blocks() -> None:
    with pytest.raises(PersonalizationError, match=r"grouping-not-whole-blocks.*8000"):
        encode_grouping(DataGrouping(0x8000, bytes(17), encrypted=True), DES_KEY, Padding.NONE)


def test_groups_are_not_parted_without_need() -> None:
    small = (False, encode_dgi(0x0101, bytes(50)))
    blocks = grouped_blocks([[small] * 2, [small] * 2, [small]], max_data=150)
    assert [len(block.data) for block in blocks] == [106, 106, 53]
    assert [block.p1 for block in blocks] == [0x08, 0x08, 0x88]


def test_data_objects_and_free_data() -> None:
    (block,) = store_objects(tlv.encode(0x42, b"\x01"), max_data=200)
    assert hexed(block) == "80E2900003420101"
    free = store_objects(bytes(30), max_data=20, flags=0)
    assert [(block.p1, block.p2, len(block.data)) for block in free] == [(0x00, 0, 20), (0x80, 1, 10)]
    assert store_objects(b"", max_data=20, flags=StoreDataFlag.BER_TLV)[0].p1 == 0x90
