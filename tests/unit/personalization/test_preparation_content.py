"""What preparation makes of an applicant: text records, file contents, portraits, signatures, data groupings, keys."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from card_os.iso7816.tlv import parse_all, parse_one
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import DataGrouping, key_check_value
from personalization.intake.sample.faces import draw_portrait
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import CardKeys, issuer_domain_keys
from personalization.preparation.data_groups import BankProgramme, DataGroups
from personalization.preparation.dgi import FILE_CHUNK, encode_groupings, file_groupings, parse_groupings
from personalization.preparation.document_signature import DocumentSigner
from personalization.preparation.ga_t_490 import encode_field, fit
from personalization.preparation.portrait import (
    HEIGHT,
    LARGEST,
    PREFERRED_LEAST,
    PREFERRED_MOST,
    WIDTH,
    is_production_picture,
    make_portrait,
)
from personalization.preparation.prepare import Preparer, is_obvious
from personalization.preparation.record import PreparedRecord
from personalization.profile import CardProfile
from personalization.terminal.holder import pin_block
from tests.doubles.issuing_centre import PASSPHRASE, PERMIT_PROFILE, SAM_PROFILE, applicant, child, draw

CARD_NUMBER = bytes.fromhex("4A5A0001000700000001")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    path: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    return FileKeyStore.create(path, PASSPHRASE, now=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), scrypt_n=16)


@pytest.fixture(scope="module")
def record(store: FileKeyStore) -> PreparedRecord:
    return Preparer(PERMIT_PROFILE, store).prepare(applicant()).record


def profile_with(**changes: object) -> CardProfile:
    return PERMIT_PROFILE.model_copy(update=changes)


# ------------------------------------------------------------ GA/T 490 fields


@pytest.mark.parametrize(
    ("text", "units", "expected"),
    [
        ("", 3, ""),
        ("一二三", 3, "一二三"),
        ("一二三四", 3, "一二三"),
        ("一二𠮷", 4, "一二𠮷"),
        ("一二𠮷", 3, "一二"),  # never inside a surrogate pair
        ("𠮷𠮷", 1, ""),
        ("一二葛\U000e0100", 4, "一二"),  # never between a character and its variation selector
        ("一二葛\U000e0100", 5, "一二葛\U000e0100"),
        ("ae\u0301", 2, "a"),  # never between a letter and its accent
        ("a\u0301\u0302\u0303b", 3, ""),
        ("\u0301\u0302", 1, ""),
        ("👩\u200d👩", 4, ""),  # never at a joiner
        ("阿卜杜拉·买买提·伊明江·吐尔逊娜依", 15, "阿卜杜拉·买买提·伊明江·吐尔"),
    ],
)
def test_text_is_cut_at_a_character(text: str, units: int, expected: str) -> None:
    assert fit(text, units) == expected


@given(st.text(st.characters(codec="utf-16-le"), max_size=60), st.integers(0, 40))
def test_a_field_has_its_length_and_decodes_to_a_beginning(text: str, units: int) -> None:
    encoded = encode_field(text, 2 * units)
    assert len(encoded) == 2 * units
    decoded = encoded.decode("utf-16-le")
    assert text.startswith(fit(text, units))
    assert decoded == fit(text, units).ljust(len(decoded))


@given(st.text(st.characters(codec="utf-16-le"), max_size=30))
def test_text_that_goes_in_is_not_cut(text: str) -> None:
    assert fit(text, len(text.encode("utf-16-le")) // 2) == text


@pytest.mark.parametrize("length", [1, 31])
def test_a_field_of_odd_length_is_a_mistake(length: int) -> None:
    with pytest.raises(ValueError, match="even length"):
        encode_field("", length)


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode_field("\ud842", 30)


# ------------------------------------------------------------ file contents


def test_the_text_record_has_the_widths_of_ga_t_490() -> None:
    record = DataGroups(PERMIT_PROFILE).build(applicant())[0x0102]
    assert len(record) == 256
    assert record[0:30].decode("utf-16-le") == "欧阳𠮷娜" + " " * 10
    assert record[30:32].decode("utf-16-le") == "2"
    assert record[32:36].decode("utf-16-le") == "15"
    assert record[36:52].decode("utf-16-le") == "19900721"
    assert record[52:122].decode("utf-16-le") == applicant().registered_address[:35]
    assert record[122:158].decode("utf-16-le") == "33038119900721124X"
    assert record[158:188].decode("utf-16-le").rstrip() == "瑞安市公安局"
    assert record[188:204].decode("utf-16-le") == "20260301"
    assert record[204:220].decode("utf-16-le") == "长期" + " " * 6
    assert record[220:256].decode("utf-16-le") == " " * 18


def test_identity_keeps_the_full_text() -> None:
    long_name = "阿卜杜热合曼·" * 7
    resident = applicant(name=long_name, registered_address="省" * 100, issuing_authority="局" * 100)
    template = parse_one(DataGroups(PERMIT_PROFILE).build(resident)[0x0101])
    values = {item.tag: item.value.decode() for item in template.children()}
    assert template.tag == 0x7F01
    assert values[0x5F20] == long_name
    assert values[0x5F42] == "省" * 100
    assert values[0xDF04] == "3"
    identity = "5F20 5F2B 5F35 DF01 DF02 5F42 DF03 DF04 DF05 5F26 DF06 DF07 DF08"
    assert [f"{tag:04X}" for tag in values] == identity.split()


def test_status_is_valid_until_the_delivered_day() -> None:
    content = DataGroups(PERMIT_PROFILE).build(applicant())[0x0203]
    assert content == b"\x01" + b"20270301" + b"20260301" + b"330381" + bytes(9)


def test_an_issue_on_a_leap_day_keeps_its_delivered_due_day() -> None:
    resident = applicant(issue_date=dt.date(2024, 2, 29), endorsement_due=dt.date(2025, 2, 28))
    assert DataGroups(PERMIT_PROFILE).build(resident)[0x0203][1:17] == b"2025022820240229"


def test_the_account_is_inactive_and_names_its_bank() -> None:
    bank = BankProgramme("中国邮政储蓄银行瑞安支行", "居住证卡")
    template = parse_one(DataGroups(PERMIT_PROFILE, bank).build(applicant())[0x0301])
    assert {item.tag: item.value for item in template.children()} == {
        0xDF41: "中国邮政储蓄银行瑞安支行".encode(),
        0x5A: b"6217993300012345678",
        0xDF42: "居住证卡".encode(),
        0xDF43: b"\x00",
    }


def test_sections_without_data_get_no_content() -> None:
    assert set(DataGroups(PERMIT_PROFILE).build(child())) == {0x0101, 0x0102, 0x0203}


@pytest.mark.parametrize(
    ("field", "value", "name"),
    [
        ("name", "名" * 51, "name"),
        ("registered_address", "址" * 101, "address"),
        ("service_hotline", "9" * 31, "hotline"),
    ],
)
def test_a_field_that_is_too_long_names_row_and_field_and_not_the_value(field: str, value: str, name: str) -> None:
    groups = DataGroups(PERMIT_PROFILE)
    resident = applicant(9, **{field: value})
    with pytest.raises(PersonalizationError, match="field-too-long") as caught:
        groups.build(resident)
    assert caught.value.parameters["row"] == 9
    assert name in str(caught.value.parameters["field"])
    assert value not in str(caught.value)


def test_a_file_that_is_too_long_is_told() -> None:
    files = tuple(row.model_copy(update={"maximum": 100}) if row.fid == 0x0101 else row for row in PERMIT_PROFILE.files)
    groups = DataGroups(profile_with(files=files))
    with pytest.raises(PersonalizationError, match="file-too-long"):
        groups.build(applicant())


def test_a_profile_that_names_an_unknown_field_is_refused() -> None:
    objects = (PERMIT_PROFILE.objects[0].model_copy(update={"name": "shoe_size"}), *PERMIT_PROFILE.objects[1:])
    with pytest.raises(PersonalizationError, match="profile-field-unknown") as caught:
        DataGroups(profile_with(objects=objects))
    assert caught.value.exit_code == 2


# ------------------------------------------------------------ portraits


def as_file(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def size_of(portrait: bytes) -> tuple[int, int]:
    picture = Image.open(io.BytesIO(portrait))
    assert picture.format == "JPEG"
    picture.load()
    return picture.size


def test_a_picture_of_production_passes_unchanged() -> None:
    ready = draw(1)
    assert size_of(ready) == (WIDTH, HEIGHT)
    assert make_portrait(ready, row=2) == ready


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("size", [(142, 198), (71, 99), (358, 441), (1200, 1700), (90, 99)])
def test_any_picture_becomes_a_portrait_of_the_right_size(kind: str, size: tuple[int, int]) -> None:
    delivered = draw(3, size, kind, quality=95)
    portrait = make_portrait(delivered, row=2)
    assert size_of(portrait) == (WIDTH, HEIGHT)
    assert len(portrait) <= LARGEST
    if kind != "JPEG" or size != (WIDTH, HEIGHT):
        assert len(portrait) <= PREFERRED_MOST


def test_ordinary_pictures_come_out_between_three_and_five_kilobytes() -> None:
    sizes = [len(make_portrait(draw_portrait(random.Random(seed)), row=2)) for seed in range(20)]
    assert all(PREFERRED_LEAST <= size <= PREFERRED_MOST for size in sizes)


def test_a_plain_surface_stays_small_and_noise_stays_possible() -> None:
    plain = make_portrait(as_file(Image.new("RGB", (142, 198), (200, 200, 200)), "PNG"), row=2)
    noise = Image.frombytes("RGB", (WIDTH, HEIGHT), random.Random(1).randbytes(WIDTH * HEIGHT * 3))
    assert len(plain) < PREFERRED_LEAST
    assert len(make_portrait(as_file(noise, "PNG"), row=2)) <= LARGEST


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_every_colour_mode_is_taken(mode: str) -> None:
    picture = Image.open(io.BytesIO(draw(4, (142, 198)))).convert(mode)
    assert size_of(make_portrait(as_file(picture, "JPEG" if mode == "CMYK" else "PNG"), row=2)) == (WIDTH, HEIGHT)


def test_transparency_becomes_white() -> None:
    clear = as_file(Image.new("RGBA", (142, 198), (0, 0, 0, 0)), "PNG")
    darkest, _ = Image.open(io.BytesIO(make_portrait(clear, row=2))).convert("L").getextrema()
    assert darkest == 255


def test_a_picture_that_lies_on_its_side_is_turned_upright() -> None:
    upright = Image.new("RGB", (142, 198), (255, 255, 255))
    upright.paste((255, 0, 0), (0, 0, 142, 40))
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate 90 degrees clockwise to see it
    lying = as_file(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    top = Image.open(io.BytesIO(make_portrait(lying, row=2))).convert("RGB").getpixel((35, 5))
    assert isinstance(top, tuple)
    assert top[0] > 200
    assert top[1] < 60


@pytest.mark.parametrize("extra", ["exif", "comment", "icc_profile", "progressive"])
def test_nothing_but_the_picture_reaches_the_card(extra: str) -> None:
    picture = Image.open(io.BytesIO(draw(5)))
    exif = Image.Exif()
    exif[0x010E] = "HIDDEN PLACE"
    options: dict[str, object] = {
        "exif": {"exif": exif},
        "comment": {"comment": b"HIDDEN PLACE"},
        "icc_profile": {"icc_profile": b"HIDDEN PLACE" * 20},
        "progressive": {"progressive": True},
    }[extra]  # type: ignore[assignment]  # a table of options
    delivered = as_file(picture, "JPEG", **options)
    portrait = make_portrait(delivered, row=2)
    assert portrait != delivered
    assert b"HIDDEN" not in portrait
    assert b"\xff\xc2" not in portrait  # progressive frame


def test_data_behind_the_picture_does_not_reach_the_card() -> None:
    ready = draw(5)
    for tail in (b"HIDDEN PLACE", ready):
        assert make_portrait(ready + tail, row=2) != ready + tail


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\xff\xd8\xff\xe0", draw(1)[:900], b"GIF89a" + bytes(50), bytes(5000)]
)
def test_what_is_no_picture_names_its_row(content: bytes) -> None:
    with pytest.raises(PersonalizationError, match="portrait-unreadable") as caught:
        make_portrait(content, row=17)
    assert caught.value.parameters == {"row": 17}


def test_a_picture_that_would_fill_the_memory_is_not_unpacked() -> None:
    huge = as_file(Image.new("1", (5000, 5000)), "PNG")
    with pytest.raises(PersonalizationError, match="portrait-too-large"):
        make_portrait(huge, row=2)


# ------------------------------------------------------------ EF.SIGNATURE


def test_the_signature_file_is_as_the_card_specification_says(store: FileKeyStore) -> None:
    files = {0x0105: b"key", 0x0103: b"portrait", 0x0102: b"record", 0x0101: b"identity"}
    hashes, signature, certificate = parse_all(DocumentSigner(PERMIT_PROFILE, store).sign(files))
    assert (hashes.tag, signature.tag, certificate.tag) == (0x7F21, 0x5F37, 0x7F4E)
    version, algorithm, listed = hashes.children()
    assert (version.tag, version.value, algorithm.tag, algorithm.value) == (0x80, b"\x01", 0x81, b"\x01")
    assert listed.tag == 0xA2
    assert [item.value for item in listed.children()] == [
        fid.to_bytes(2, "big") + hashlib.sha256(files[fid]).digest() for fid in (0x0101, 0x0102, 0x0103, 0x0105)
    ]
    assert len(signature.value) == 64
    assert certificate.value == store.certificate(KeyName.DOCUMENT_SIGNER)


def test_a_profile_without_signature_is_none_of_a_permit(store: FileKeyStore) -> None:
    profile = profile_with(signature=None)
    with pytest.raises(PersonalizationError, match="profile-without-signature"):
        DocumentSigner(profile, store)


# ------------------------------------------------------------ data groupings


@given(st.lists(st.tuples(st.integers(0, 0xFFFF), st.binary(max_size=600)), max_size=6))
def test_groupings_survive_their_encoding(rows: list[tuple[int, bytes]]) -> None:
    groupings = tuple(DataGrouping(identifier, value) for identifier, value in rows)
    assert parse_groupings(encode_groupings(groupings)) == groupings


@pytest.mark.parametrize(
    ("length", "field"), [(0, "00"), (1, "01"), (254, "FE"), (255, "FF00FF"), (256, "FF0100"), (65_535, "FFFFFF")]
)
def test_the_length_of_a_grouping_has_one_byte_or_three(length: int, field: str) -> None:
    # GlobalPlatform: FF says that two bytes follow
    encoded = encode_groupings([DataGrouping(0x0101, bytes(length))])
    assert encoded[: 2 + len(field) // 2].hex().upper() == "0101" + field
    assert parse_groupings(encoded)[0].value == bytes(length)


def test_a_grouping_longer_than_its_length_field_is_refused() -> None:
    with pytest.raises(ValueError, match="65535"):
        encode_groupings([DataGrouping(0x0101, bytes(65_536))])


@pytest.mark.parametrize("raw", ["01", "0101", "010105AA", "0101FF", "0101FF01", "0101FF0100AA"])
def test_a_grouping_that_is_cut_short_is_refused(raw: str) -> None:
    with pytest.raises(PersonalizationError, match="grouping-malformed"):
        parse_groupings(bytes.fromhex(raw))


@pytest.mark.parametrize("length", [1, FILE_CHUNK, FILE_CHUNK + 1, 20_480])
def test_a_long_file_comes_in_several_groupings(length: int) -> None:
    content = random.Random(1).randbytes(length)
    rebuilt = bytearray(length)
    for grouping in file_groupings(0x0103, content):
        offset = int.from_bytes(grouping.value[:2], "big")
        rebuilt[offset : offset + len(grouping.value) - 2] = grouping.value[2:]
    assert bytes(rebuilt) == content
    assert list(file_groupings(0x0103, b"")) == []


# ------------------------------------------------------------ records


def test_a_record_survives_its_encoding(record: PreparedRecord) -> None:
    assert PreparedRecord.decode(record.encode()) == record


def test_a_record_shows_nothing(record: PreparedRecord) -> None:
    assert repr(record) == "PreparedRecord(row_number=2)"


@pytest.mark.parametrize("length", [0, 1, 50, 101, 103, 110, 130])
def test_a_record_that_is_cut_short_is_refused(record: PreparedRecord, length: int) -> None:
    raw = record.encode()[:length]
    with pytest.raises(PersonalizationError, match="malformed"):
        PreparedRecord.decode(raw)


def test_a_record_of_another_version_is_refused(record: PreparedRecord) -> None:
    raw = b"\x02" + record.encode()[1:]
    with pytest.raises(PersonalizationError, match="record-malformed"):
        PreparedRecord.decode(raw)


def test_plain_groupings_come_in_the_order_of_personalization(record: PreparedRecord) -> None:
    identifiers = [grouping.identifier for grouping in record.groupings]
    assert identifiers[0] == 0x0062
    assert identifiers[-1] == 0x9F01
    middle = identifiers[1:-1]
    assert middle == sorted(middle)
    assert not {0x8000, 0x8010, 0x8101} & set(identifiers)
    assert record.groupings[-1].value == b"residence-permit 1.0"


def test_every_file_is_created_also_the_empty_ones(record: PreparedRecord) -> None:
    templates = parse_all(record.groupings[0].value)
    fids = [next(item.value for item in template.children() if item.tag == 0x83) for template in templates]
    assert fids == [row.fid.to_bytes(2, "big") for row in PERMIT_PROFILE.files]


def test_recognition_values_know_the_numbers_again(store: FileKeyStore, record: PreparedRecord) -> None:
    assert record.permit_recognition == store.recognise(applicant().permit_number.encode())
    assert record.citizen_recognition == store.recognise(applicant().citizen_number.encode())


def test_two_preparations_share_no_key_and_hardly_a_pin(store: FileKeyStore) -> None:
    preparer = Preparer(PERMIT_PROFILE, store)
    cards = [preparer.prepare(applicant()) for _ in range(8)]
    assert len({card.record.chip_private_key for card in cards}) == 8
    assert len({card.letter.pins["holder"] for card in cards}) > 1


def test_the_letter_tells_the_pins_of_the_record(store: FileKeyStore) -> None:
    card = Preparer(PERMIT_PROFILE, store).prepare(applicant())
    assert set(card.letter.pins) == {"holder", "unblocking"}
    assert len(card.letter.pins["holder"]) == 6
    assert len(card.letter.pins["unblocking"]) == 8
    holder, unblocking = card.letter.pins["holder"], card.letter.pins["unblocking"]
    assert dict(card.record.pin_blocks) == {1: pin_block(holder), 2: pin_block(unblocking)}


@pytest.mark.parametrize("pin", ["000000", "999999", "123456", "987654", "456789", "890123", "210987"])
def test_a_pin_that_everybody_tries_first_is_obvious(pin: str) -> None:
    assert is_obvious(pin)


@pytest.mark.parametrize("pin", ["000001", "112233", "135791", "123465"])
def test_other_pins_are_not(pin: str) -> None:
    assert not is_obvious(pin)


def test_an_obvious_pin_is_drawn_again(store: FileKeyStore) -> None:
    drawn = iter([111111, 123456, 271828, 33333333, 31415926])

    def randomness(length: int) -> bytes:
        return (7).to_bytes(length, "big") if length > 16 else next(drawn).to_bytes(length, "big")

    card = Preparer(PERMIT_PROFILE, store, randomness=randomness).prepare(applicant())
    assert card.letter.pins == {"holder": "271828", "unblocking": "31415926"}


def test_a_profile_of_a_sam_cannot_be_prepared(store: FileKeyStore) -> None:
    with pytest.raises(PersonalizationError) as caught:
        Preparer(SAM_PROFILE, store)
    assert caught.value.exit_code == 2


# ------------------------------------------------------------ keys of one card


def test_key_groupings_are_as_the_card_specification_says(store: FileKeyStore, record: PreparedRecord) -> None:
    groupings = CardKeys(PERMIT_PROFILE, store).permit_groupings(record, CARD_NUMBER)
    assert [grouping.identifier for grouping in groupings[-4:]] == [0x8000, 0x8010, 0x8101, 0x9F01]
    keys, pins, chip, last = groupings[-4:]
    assert (keys.encrypted, pins.encrypted, chip.encrypted, last.encrypted) == (True, True, True, False)
    rows = [keys.value[at : at + 39] for at in range(0, len(keys.value), 39)]
    assert [row[:4].hex() for row in rows] == ["81010a20", "82020a20", "83030a20", "84040a20", "90000020"]
    names = (KeyName.INSPECTION, KeyName.SERVICE_DESK, KeyName.BANK_BRANCH, KeyName.ISSUER)
    wanted = [store.derive(name, "ROLE", CARD_NUMBER, 32) for name in names]
    wanted.append(store.derive(KeyName.CONCEALMENT, "CONCEAL", b"\x01", 32))
    assert [row[4:36] for row in rows] == wanted
    assert [row[36:] for row in rows] == [key_check_value(key) for key in wanted]
    blocks = dict(record.pin_blocks)
    assert pins.value == b"\x81\x41\x03" + blocks[1] + b"\x82\x02\x0a" + blocks[2]
    assert chip.value == record.chip_private_key


def test_a_sam_gets_the_masters_and_its_terminal_key(store: FileKeyStore) -> None:
    load_key, masters, keys, identification = CardKeys(SAM_PROFILE, store).sam_groupings(CARD_NUMBER)
    assert identification == DataGrouping(0x9F01, b"terminal-sam 1.0")
    assert load_key.encrypted
    value = masters.value
    assert value[:4].hex() == "81000018"
    assert value[4:28] == store.wrap_master(KeyName.INSPECTION)
    assert value[28:31] == store.check_value(KeyName.INSPECTION)
    assert len(aes_key_unwrap(load_key.value, value[4:28])) == 16
    value = keys.value
    assert store.derive(KeyName.TERMINAL, "ROLE", CARD_NUMBER, 32) in value
    assert store.derive(KeyName.CONCEALMENT, "CONCEAL", b"\x01", 32) in value
    assert keys.encrypted


def test_key_sets_of_the_issuer_domain_differ_by_card_and_by_set(store: FileKeyStore) -> None:
    factory = issuer_domain_keys(store, KeyName.FACTORY, CARD_NUMBER)
    ours = issuer_domain_keys(store, KeyName.CARD, CARD_NUMBER)
    other = issuer_domain_keys(store, KeyName.CARD, CARD_NUMBER[:-1] + b"\x02")
    assert (factory.version, ours.version) == (0xFF, 0x01)
    values = {key for keys in (factory, ours, other) for key in (keys.enc, keys.mac, keys.dek)}
    assert len(values) == 9
    assert ours.enc == store.derive(KeyName.CARD, "SCP03 ENC", CARD_NUMBER, 16)


@pytest.mark.parametrize("number", [b"", bytes(9), bytes(11)])
def test_a_card_number_has_ten_bytes(store: FileKeyStore, number: bytes) -> None:
    keys = CardKeys(PERMIT_PROFILE, store)
    with pytest.raises(PersonalizationError, match="card-number-malformed"):
        keys.key_grouping(number)


def test_a_profile_without_the_grouping_is_told(store: FileKeyStore, record: PreparedRecord) -> None:
    keys = CardKeys(SAM_PROFILE, store)
    with pytest.raises(PersonalizationError, match="profile-dgi-missing"):
        keys.pin_grouping(record)


# ------------------------------------------------------------ the short way for portraits


def pieces_of(picture: bytes) -> list[tuple[int, int]]:
    """Offset and marker of every segment up to the scan."""
    at, found = 2, list[tuple[int, int]]()
    while not found or found[-1][1] != 0xDA:
        found.append((at, picture[at + 1]))
        at += 2 + int.from_bytes(picture[at + 2 : at + 4], "big")
    return found


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_short_way_takes_what_the_long_way_leaves_unchanged(mode: str) -> None:
    stream = io.BytesIO()
    with Image.open(io.BytesIO(draw(7))) as drawn:
        drawn.convert(mode).save(stream, "JPEG", quality=85)
    assert is_production_picture(stream.getvalue())
    assert make_portrait(stream.getvalue(), row=2) == stream.getvalue()


def test_the_short_way_takes_nothing_that_the_long_way_would_change_or_refuse() -> None:
    """Cut anywhere, with a comment, camera data, another size, progressive, or a picture behind it."""
    whole = draw(8)
    comment = whole[:2] + b"\xff\xfe\x00\x06oops" + whole[2:]
    progressive, larger, coloured = io.BytesIO(), draw(8, (72, 99)), io.BytesIO()
    with Image.open(io.BytesIO(whole)) as drawn:
        drawn.save(progressive, "JPEG", progressive=True)
        drawn.convert("CMYK").save(coloured, "JPEG")
    others = [
        comment,
        progressive.getvalue(),
        larger,
        coloured.getvalue(),
        whole + whole,
        whole + b"\0",
        b"",
        whole[:2],
    ]
    assert [is_production_picture(other) for other in others] == [False] * len(others)
    start = pieces_of(whole)[-1][0]
    for cut in {*range(start + 40), *range(start + 40, len(whole) - 2, 97)}:
        assert not is_production_picture(whole[:cut]), cut
        closed = whole[:cut] + whole[-2:]
        # A scan that is cut and closed again is a picture with a grey end: the decoder takes it, here as there.
        assert not is_production_picture(closed) or make_portrait(closed, row=2) == closed, cut
