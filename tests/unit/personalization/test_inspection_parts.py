"""Masking, comparison of text records, likeness of portraits and EF.SIGNATURE, each on its own."""

from __future__ import annotations

import datetime as dt
import io
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from card_os.iso7816.tlv import encode, parse_all
from personalization.inspection.checks import CheckList, InspectionResult
from personalization.inspection.comparison import IDENTITY, is_well_cut, objects_of
from personalization.inspection.masking import Masking, masked
from personalization.inspection.portrait_check import is_card_portrait, shows_the_same
from personalization.inspection.signature_check import SignatureVerifier, is_signed
from personalization.intake.sample.faces import draw_portrait
from personalization.keys.certificates import make_authority, make_document_signer
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.preparation.document_signature import DocumentSigner
from personalization.preparation.ga_t_490 import encode_field
from personalization.preparation.portrait import make_portrait
from tests.doubles.issuing_centre import PERMIT_PROFILE

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
TODAY = dt.date(2026, 3, 2)
FILES = {0x0101: b"identity", 0x0102: b"record", 0x0103: b"portrait", 0x0105: b"\x04" + bytes(64)}


# ------------------------------------------------------------ masking


@pytest.mark.parametrize(
    ("value", "masking", "expected"),
    [
        ("欧阳娜", Masking.NAME, "欧**"),
        ("𠮷", Masking.NAME, "*"),
        ("丁一", Masking.NAME, "丁*"),
        ("33038119900721124X", Masking.NUMBER, "**************124X"),
        ("1234", Masking.NUMBER, "****"),
        ("", Masking.NUMBER, ""),
        ("19900721", Masking.BIRTH_DATE, "1990****"),
        ("浙江省瑞安市", Masking.PLACE, "浙江省***"),
        ("浙江", Masking.PLACE, "**"),
        ("15", Masking.HIDDEN, "(2)"),
        ("瑞安市公安局", Masking.OPEN, "瑞安市公安局"),
        ("a\x1b[2J", Masking.OPEN, "a*[2J"),
        ("\u200b甲乙", Masking.NAME, "***"),
        (None, Masking.NAME, "(none)"),
    ],
)
def test_values_are_masked_by_what_they_are(value: str | None, masking: Masking, expected: str) -> None:
    assert masked(value, masking) == expected


@given(
    st.text(st.characters(exclude_characters="*"), min_size=6, max_size=60),
    st.sampled_from([m for m in Masking if m is not Masking.OPEN]),
)
def test_a_masked_value_never_shows_the_value(value: str, masking: Masking) -> None:
    shown = masked(value, masking)
    assert shown != value


def test_no_check_is_no_success() -> None:
    assert not InspectionResult(2, ()).passed


# ------------------------------------------------------------ text records


@pytest.mark.parametrize(
    ("found", "full", "units", "right"),
    [
        ("张三" + " " * 13, "张三", 15, True),
        ("张" + " " * 14, "张三", 15, False),
        ("张三丰" + " " * 12, "张三", 15, False),
        ("一二三", "一二三四", 3, True),
        ("一二 ", "一二三四", 3, False),
        ("一二 ", "一二𠮷", 3, True),
        ("一二三", "一二三\u0301", 3, False),
        ("一二 ", "一二三\u0301", 3, True),
        (" " * 4, "", 4, True),
        ("甲" + " " * 3, "", 4, False),
        ("ab ", "ab cd", 3, True),
        ("ab  ", "ab  cd", 4, True),
        ("ba ", "ab cd", 3, False),
    ],
)
def test_a_field_holds_as_much_as_goes_in(found: str, full: str, units: int, right: bool) -> None:
    assert is_well_cut(found, full, units) is right


@given(st.text(st.characters(codec="utf-16-le", exclude_categories=("Cs", "Mn", "Mc", "Me")), max_size=40))
def test_what_preparation_cuts_inspection_finds_well_cut(text: str) -> None:
    text = text.replace("\u200d", "")
    assert is_well_cut(encode_field(text, 30).decode("utf-16-le"), text, 15)


@pytest.mark.parametrize(
    "content",
    [
        b"\x7f",
        b"\x7f\x01\x05\x5f\x20",
        encode(0x7F02, encode(0x5F20, b"x")),
        encode(0x7F01) + encode(0x7F01),
        encode(0x7F01, encode(0x5F20, b"x"), encode(0x5F20, b"y")),
        b"\x1f",
    ],
)
def test_a_file_that_is_not_one_template_with_each_object_once_is_malformed(content: bytes) -> None:
    assert objects_of(IDENTITY, content) is None


def test_an_empty_file_has_no_objects() -> None:
    assert objects_of(IDENTITY, bytes(512)) == {}


# ------------------------------------------------------------ portraits


def test_every_head_is_itself_and_no_other() -> None:
    delivered = [draw_portrait(random.Random(seed)) for seed in range(12)]
    made = [make_portrait(picture, row=2) for picture in delivered]
    for number, portrait in enumerate(made):
        assert is_card_portrait(portrait)
        assert [shows_the_same(portrait, picture) for picture in delivered] == [
            other == number for other in range(len(delivered))
        ]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "JPEG"])
@pytest.mark.parametrize("size", [(358, 441), (600, 600), (284, 396)])
def test_likeness_survives_form_and_size(kind: str, size: tuple[int, int]) -> None:
    picture = Image.open(io.BytesIO(draw_portrait(random.Random(5)))).resize(size, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    picture.save(stream, kind)
    assert shows_the_same(make_portrait(stream.getvalue(), row=2), stream.getvalue())


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\n", bytes(4000)])
def test_what_does_not_decode_is_no_portrait(content: bytes) -> None:
    delivered = draw_portrait(random.Random(5))
    assert not is_card_portrait(content)
    assert not shows_the_same(content, delivered)


def test_a_portrait_of_another_size_is_none_of_a_card() -> None:
    assert not is_card_portrait(draw_portrait(random.Random(5)))


# ------------------------------------------------------------ EF.SIGNATURE


class Signed:
    """A signed set of files, and the parts of EF.SIGNATURE."""

    def __init__(self) -> None:
        self.authority_key = ec.generate_private_key(ec.SECP256R1())
        self.signer_key = ec.generate_private_key(ec.SECP256R1())
        self.authority = make_authority(self.authority_key, START)
        self.signer = make_document_signer(self.signer_key.public_key(), self.authority, self.authority_key, START)
        pairs = {KeyName.DOCUMENT_SIGNER: self.signer_key, KeyName.AUTHORITY: self.authority_key}
        certificates = {KeyName.DOCUMENT_SIGNER: self.signer.public_bytes(Encoding.DER)}
        # A store of these two keys only; the others are not asked for.
        store = FileKeyStore({}, pairs, certificates)
        self.content = DocumentSigner(PERMIT_PROFILE, store).sign(FILES)
        self.hashes, self.signature, self.certificate = (item.value for item in parse_all(self.content))
        self.verifier = SignatureVerifier(self.authority.public_bytes(Encoding.DER))

    def failed(self, content: bytes, files: dict[int, bytes] | None = None, today: dt.date = TODAY) -> set[str]:
        checks = CheckList()
        self.verifier.verify(checks, content, FILES if files is None else files, today)
        return {check.name.removeprefix("signature.") for check in checks.result(2).failures}

    def with_certificate(self, certificate: x509.Certificate) -> bytes:
        return (
            encode(0x7F21, self.hashes)
            + encode(0x5F37, self.signature)
            + encode(0x7F4E, certificate.public_bytes(Encoding.DER))
        )


@pytest.fixture(scope="module")
def signed() -> Signed:
    return Signed()


def test_what_was_signed_verifies(signed: Signed) -> None:
    assert signed.failed(signed.content) == set()
    assert signed.failed(signed.content) == set()  # the certificate is known by now


@pytest.mark.parametrize("fid", sorted(FILES))
def test_a_file_that_was_changed_shows(signed: Signed, fid: int) -> None:
    assert signed.failed(signed.content, {**FILES, fid: FILES[fid] + b"\x00"}) == {f"hash.{fid:04X}"}


def test_a_file_that_could_not_be_read_shows(signed: Signed) -> None:
    files = {fid: content for fid, content in FILES.items() if fid != 0x0103}
    assert signed.failed(signed.content, files) == {"hash.0103"}


@pytest.mark.parametrize("position", [10, 40, 170])
def test_a_changed_hash_list_is_not_signed(signed: Signed, position: int) -> None:
    content = bytearray(signed.content)
    content[position] ^= 1
    assert "value" in signed.failed(bytes(content)) or signed.failed(bytes(content)) == {"form"}


def test_a_hash_list_that_was_exchanged_together_with_its_file_is_not_signed(signed: Signed) -> None:
    other = Signed()
    content = encode(0x7F21, other.hashes[:-1] + b"\x00") + encode(0x5F37, signed.signature)
    assert "value" in signed.failed(content + encode(0x7F4E, signed.certificate))


@pytest.mark.parametrize("length", [0, 63, 65, 72])
def test_a_signature_has_64_bytes(signed: Signed, length: int) -> None:
    content = encode(0x7F21, signed.hashes) + encode(0x5F37, bytes(length)) + encode(0x7F4E, signed.certificate)
    assert signed.failed(content) == {"value"}


@pytest.mark.parametrize("number", [bytes(32), b"\xff" * 32])
def test_a_number_out_of_range_is_no_signature(signed: Signed, number: bytes) -> None:
    assert not is_signed(signed.signer_key.public_key(), number + number, b"message")


@pytest.mark.parametrize("content", [b"", b"\x7f\x21", b"\x7f\x21\x00", bytes(100)])
def test_what_is_no_signature_file_is_told(signed: Signed, content: bytes) -> None:
    assert signed.failed(content) == {"form"}


def test_a_longer_form_of_a_length_hides_nothing(signed: Signed) -> None:
    inner = signed.hashes
    longer = b"\x7f\x21\x82" + len(inner).to_bytes(2, "big") + inner
    assert signed.failed(longer + signed.content[len(encode(0x7F21, inner)) :]) == {"form"}


@pytest.mark.parametrize(
    "change",
    [
        (b"\x80\x01\x01", b"\x80\x01\x02"),
        (b"\x81\x01\x01", b"\x81\x01\x02"),
        (b"\x83\x22\x01\x01", b"\x83\x22\x01\x02"),
    ],
    ids=["version", "algorithm", "a file twice"],
)
def test_another_version_algorithm_or_list_is_refused(signed: Signed, change: tuple[bytes, bytes]) -> None:
    content = signed.content.replace(*change, 1)
    assert {"list", "value"} <= signed.failed(content)


def test_the_authority_itself_signs_no_data(signed: Signed) -> None:
    assert signed.failed(signed.with_certificate(signed.authority)) == {"certificate", "value"}


def test_a_certificate_of_another_authority_is_refused(signed: Signed) -> None:
    other = Signed()
    assert signed.failed(signed.with_certificate(other.signer)) == {"certificate", "value"}
    assert signed.failed(other.content) == {"certificate", "value"}


def test_a_certificate_that_the_signer_issued_is_refused(signed: Signed) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    forged = make_document_signer(key.public_key(), signed.signer, signed.signer_key, START)
    assert signed.failed(signed.with_certificate(forged)) == {"certificate", "value"}


@pytest.mark.filterwarnings("ignore:Parsed a serial number:cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("value", [0x00, 0x01, 0x7F, 0xFF])
def test_a_certificate_with_any_byte_changed_is_refused_and_stops_nobody(signed: Signed, value: int) -> None:
    """Whatever the parser makes of it: a station that fell over one card would fall over it again when it resumes."""
    good = signed.content
    start = len(good) - len(signed.signer.public_bytes(Encoding.DER))
    for at in range(start, len(good)):
        if good[at] != value:
            assert "certificate" in signed.failed(good[:at] + bytes((value,)) + good[at + 1 :])


def test_a_certificate_counts_in_its_time_only(signed: Signed) -> None:
    assert signed.failed(signed.content, today=dt.date(2025, 12, 31)) == {"certificate", "value"}
    assert signed.failed(signed.content, today=dt.date(2041, 1, 1)) == {"certificate", "value"}
    assert signed.failed(signed.content, today=dt.date(2026, 1, 1)) == set()
