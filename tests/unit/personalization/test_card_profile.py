"""The card profile model and the two profiles that ship."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from applet import permit, sam
from card_os.iso7816.tlv import find, parse_all, parse_one
from card_os.security.access import AccessRule, Proof
from personalization.errors import PersonalizationError
from personalization.intake.code_tables import code_tables
from personalization.profile import CardProfile

PERMIT = CardProfile.load(files(permit) / "profile.toml")
SAM = CardProfile.load(files(sam) / "profile.toml")
SIZES = {0x0101: 400, 0x0103: 4000, 0x0104: 700}


def mutilated(tmp_path: Path, old: str, new: str) -> Path:
    text = (files(permit) / "profile.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "profile.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_names_of_the_proofs_are_those_of_the_firmware() -> None:
    assert PERMIT.mask("contact") == Proof.CONTACT
    assert PERMIT.mask("contactless") == Proof.CONTACTLESS
    assert PERMIT.mask("secure_messaging") == Proof.SECURE_MESSAGING
    assert PERMIT.mask("secure_channel") == Proof.SECURE_CHANNEL
    assert PERMIT.mask("holder") == Proof.pin(1)
    assert [PERMIT.mask(name) for name in ("inspection", "service_desk", "bank_branch", "issuer")] == [
        Proof.key(number) for number in (1, 2, 3, 4)
    ]


@pytest.mark.parametrize("name", sorted(PERMIT.rules))
def test_an_encoded_rule_is_read_by_the_firmware(name: str) -> None:
    encoded = PERMIT.encode_rule(name)
    rule, end = AccessRule.decode(encoded)
    assert end == len(encoded)
    assert rule.alternatives == PERMIT.alternatives(name)


def test_never_and_always() -> None:
    assert PERMIT.encode_rule(()) == b"\x00"
    assert PERMIT.encode_rule(("always",)) == bytes.fromhex("0100000000")


def test_fcp_of_a_transparent_file() -> None:
    """ISO/IEC 7816-4:2020, table 10: the file control parameters."""
    template = parse_one(PERMIT.fcp(PERMIT.file(0x0201), 512))
    assert template.tag == 0x62
    assert [item.tag for item in template.children()] == [0x80, 0x82, 0x83, 0x88, 0x8A, 0x86]
    assert find(template.value, 0x80) == bytes.fromhex("0200")
    assert find(template.value, 0x82) == b"\x01"
    assert find(template.value, 0x83) == bytes.fromhex("0201")
    assert find(template.value, 0x88) == bytes((0x0B << 3,))
    assert find(template.value, 0x8A) == b"\x05"
    security = find(template.value, 0x86)
    assert security is not None
    assert security[0] == 0x01
    read, at = AccessRule.decode(security, 1)
    assert read.allows(Proof.key(1) | Proof.SECURE_MESSAGING)
    assert not read.allows(Proof.key(3) | Proof.SECURE_MESSAGING)
    assert not read.allows(Proof.pin(1) | Proof.CONTACTLESS)
    assert security[at] == 0x02
    update, end = AccessRule.decode(security, at + 1)
    assert update.alternatives == (Proof.key(2) | Proof.SECURE_MESSAGING,)
    assert end == len(security)


def test_fcp_of_a_record_file() -> None:
    template = parse_one(PERMIT.fcp(PERMIT.file_named("EF.ENDORSEMENTS"), 384))
    assert find(template.value, 0x82) == bytes.fromhex("02210020000C")


def test_creation_dgi_holds_every_file_once() -> None:
    templates = parse_all(PERMIT.file_creation_dgi(SIZES))
    fids = [int.from_bytes(find(item.value, 0x83) or b"", "big") for item in templates]
    assert fids == [row.fid for row in PERMIT.files]
    assert find(templates[2].value, 0x80) == (4000).to_bytes(2, "big")


def test_a_missing_size_is_named() -> None:
    with pytest.raises(PersonalizationError, match=r"profile-size-missing: file=EF\.PORTRAIT"):
        PERMIT.file_creation_dgi({0x0101: 400})


@pytest.mark.parametrize(("fid", "size"), [(0x0101, 0), (0x0101, 1025), (0x0102, 255), (0x0105, 66)])
def test_a_size_that_does_not_fit_is_refused(fid: int, size: int) -> None:
    with pytest.raises(PersonalizationError, match="profile-file-size"):
        PERMIT.fcp(PERMIT.file(fid), size)


def test_identification_and_install_parameters() -> None:
    assert PERMIT.identification == b"residence-permit 1.0"
    assert PERMIT.install_parameters == b""
    assert SAM.install_parameters == bytes.fromhex("8004000F42408104000003E8")


def test_fixed_layouts_have_no_gap() -> None:
    sizes = {"status": 32, "endorsements": 32, "ga490": 256}
    for layout, size in sizes.items():
        end = 0
        for row in PERMIT.fields_of(layout):
            assert row.offset == end, row.name
            end += row.length
        assert end == size


def test_code_tables_are_those_that_intake_checks_by() -> None:
    """GB 3304 and GB/T 2261.1: what is printed of a card is what was accepted."""
    for name, accepted in (("ethnic_group", code_tables().ethnic_groups), ("sex", code_tables().sexes)):
        assert {code: title.zh for code, title in PERMIT.codes[name].items()} == accepted
    row = next(item for item in PERMIT.objects if item.name == "ethnic_group")
    assert PERMIT.meanings(row)["22"].en == "She"


def test_derivation_contexts() -> None:
    number = bytes(range(10))
    assert PERMIT.key("issuer").derivation_context(number) == number
    assert PERMIT.key("concealment").derivation_context(number) == b"\x01"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"issuer + secure_messaging"', '"isuer + secure_messaging"', "unknown name in an access rule: isuer"),
        ('read = "account"', 'read = "accounts"', "unknown rule: accounts"),
        ('fid = "0102"', 'fid = "0101"', "file identifier 0101 stands twice"),
        ('sfi = "02"', 'sfi = "01"', "short file identifier 01 stands twice"),
        ('sfi = "02"', 'sfi = "1F"', "short identifier is 01 to 1E"),
        ("size = 256\n", "", "either size or maximum"),
        ("records = 12", "records = 13", "size is records times record_size"),
        ('template = "7F01"\nname = "name"', 'template = "7F09"\nname = "name"', "no file holds template 7F09"),
        ('name = "inspection"', 'name = "holder"', "proof name holder stands twice"),
        ('"EF.PORTRAIT", "EF.CHIPKEY"]', '"EF.PHOTO"]', "no file is called EF.PHOTO"),
        ('next = ["LOCKED"]', 'next = ["BLOCKED"]', "unknown life-cycle state BLOCKED"),
        ('identifier = "8010"', 'identifier = "8000"', "DGI 8000 stands twice"),
        ("role = 2", "role = 1", "role 1 stands twice"),
        ('reference = "82"\nname = "service_desk"', 'reference = "81"\nname = "service_desk"', "key reference 81"),
        ('values = "sex"', 'values = "six"', "sex: no code table is called six"),
        ("try_limit = 3", "try_limit = 3\ntries = 3", "Extra inputs are not permitted"),
        ('fid = "0102"', 'fid = "01XY"', "invalid literal for int"),
    ],
)
def test_a_mistake_in_a_profile_is_explained(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = mutilated(tmp_path, old, new)
    with pytest.raises(PersonalizationError, match=reason) as caught:
        CardProfile.load(path)
    assert caught.value.code in {"profile-invalid", "profile-unreadable"}
    assert caught.value.exit_code == 2


def test_a_file_that_is_no_toml_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "profile.toml"
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(PersonalizationError, match="profile-unreadable"):
        CardProfile.load(path)


def test_a_file_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(PersonalizationError, match="profile-unreadable"):
        CardProfile.load(tmp_path / "none.toml")


def test_lookups_of_what_is_not_there_fail() -> None:
    with pytest.raises(KeyError):
        PERMIT.file(0x0909)
    with pytest.raises(KeyError):
        PERMIT.file_named("EF.NONE")
    with pytest.raises(KeyError):
        PERMIT.key("nobody")
