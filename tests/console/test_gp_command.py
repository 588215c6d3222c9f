"""``permitcard gp`` as a user runs it: every command, its JSON, its exit codes, and the guard in front of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from permitcard.specimen import specimen_keys
from personalization.keys.keystore import KeyName
from tests.console.gp_line import GpLine

CARD = ("--card", "sim:a.card")
PERMIT, PERMIT_MODULE = "F05A4A4A5A01", "F05A4A4A5A0101"
ISSUER = "A000000151000000"
WRONG = "00112233445566778899AABBCCDDEEFF"
NEW = "112233445566778899AABBCCDDEEFF00"
COMMANDS = (
    *("info", "list", "load", "install", "delete", "lock", "unlock", "store", "send", "script", "forgive", "keys"),
    *("keys list", "keys find", "keys put", "keys delete", "keys rotate"),
)


@pytest.fixture
def gp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> GpLine:
    """A blank card with published factory keys, a.card, and a key guard that remembers nothing yet."""
    for name in [name for name in os.environ if name.startswith(("PERMITCARD_", "LC_", "LANG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PERMITCARD_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    line = GpLine(capsys)
    assert line("card", "new", "a.card", "--blank").code == 0
    return line


def component(tag: int, content: str) -> bytes:
    raw = bytes.fromhex(content)
    return bytes((tag,)) + len(raw).to_bytes(2, "big") + raw


IJC = (
    component(1, "DECAFFED 01 02 04 00 01 06 F0AABBCCDD01")
    + component(3, "01 07 F0AABBCCDD0101 0000")
    + component(7, "00" * 400)
)


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_explains_itself(gp: GpLine, words: str) -> None:
    said = gp("gp", *words.split(), "--help")
    assert said.code == 0
    assert "Usage: permitcard gp" in said.out


def test_info_tells_what_the_card_tells(gp: GpLine) -> None:
    said = gp("gp", "info", *CARD, "--json").document
    assert said["globalplatform"] == "2.3.1"
    assert said["secure_channels"] == ["SCP03 i=70"]
    assert [key["version"] for key in said["keys"]] == ["FF"] * 3
    assert said["cplc"]["ic_fabrication_date"] == "6001 (2026-01-01)"
    assert said["guard"]["unfinished"] == 0
    for language, word in (("en", "Secure channels"), ("zh", "安全通道")):
        assert word in gp("gp", "info", *CARD, "--lang", language).out


def test_list_install_lock_unlock_delete(gp: GpLine) -> None:
    done = gp(
        "gp",
        "install",
        *CARD,
        "--package",
        PERMIT,
        "--module",
        PERMIT_MODULE,
        "--privilege",
        "cvm-management",
        "--json",
    )
    assert done.document["instance"] == PERMIT_MODULE
    (application,) = gp("gp", "list", *CARD, "--json").document["applications"]
    assert (application["aid"], application["life_cycle"], application["package"]) == (
        PERMIT_MODULE,
        "selectable",
        PERMIT,
    )
    assert application["privileges"] == ["cvm-management"]
    assert "selectable" in gp("gp", "list", *CARD).out
    assert gp("gp", "lock", PERMIT_MODULE, *CARD, "--json").document == {"aid": PERMIT_MODULE, "locked": True}
    assert gp("gp", "list", *CARD, "--json").document["applications"][0]["life_cycle"] == "locked"
    assert gp("gp", "unlock", PERMIT_MODULE, *CARD).code == 0
    assert gp("gp", "delete", PERMIT_MODULE, *CARD).code == 0
    assert gp("gp", "list", *CARD, "--json").document["applications"] == []
    assert gp("gp", "delete", PERMIT_MODULE, *CARD, "--json").error == "card-refused"


def test_locking_the_card_and_back(gp: GpLine) -> None:
    assert gp("gp", "send", "80F0800F", *CARD).code == 0
    assert gp("gp", "lock", "card", *CARD).code == 0
    assert gp("gp", "list", *CARD, "--json").document["issuer_domains"][0]["life_cycle"] == "card-locked"
    assert gp("gp", "unlock", "card", *CARD).code == 0
    assert gp("gp", "list", *CARD, "--json").document["issuer_domains"][0]["life_cycle"] == "secured"


def test_loading_a_package(gp: GpLine, tmp_path: Path) -> None:
    (tmp_path / "a.ijc").write_bytes(IJC)
    loaded = gp("gp", "load", "a.ijc", *CARD, "--json")
    assert loaded.code == 0, loaded.err
    assert loaded.document["package"] == "F0AABBCCDD01"
    packages = {item["aid"]: item for item in gp("gp", "list", *CARD, "--json").document["packages"]}
    assert packages["F0AABBCCDD01"]["life_cycle"] == "loaded"
    assert gp("gp", "delete", "F0AABBCCDD01", "--related", *CARD).code == 0
    assert gp("gp", "load", "a.card", *CARD, "--json").error == "load-file-malformed"


def test_a_package_and_its_application_in_one_process(gp: GpLine, tmp_path: Path) -> None:
    """9.3.8: both are there afterwards, or neither."""
    (tmp_path / "a.ijc").write_bytes(IJC)
    assert gp("card", "new", "b.card", "--profile", "test-keys").code == 0
    other = ("--card", "sim:b.card")
    refused = gp("gp", "install", "a.ijc", "--combined", "--instance", ISSUER, *other, "--json")
    assert (refused.code, refused.error) == (1, "card-refused")
    there = [item["aid"] for item in gp("gp", "list", *other, "--json").document["packages"]]
    assert "F0AABBCCDD01" not in there
    assert gp("gp", "install", "a.ijc", "--combined", *other).code == 0
    document = gp("gp", "list", *other, "--json").document
    assert [item["aid"] for item in document["applications"]] == ["F0AABBCCDD0101"]
    assert "F0AABBCCDD01" in [item["aid"] for item in document["packages"]]


def test_store_and_send_and_script(gp: GpLine, tmp_path: Path) -> None:
    assert gp("gp", "store", "420401020304", "--form", "tlv", *CARD).code == 0
    (answer,) = gp("gp", "send", "80CA004200", "--plain", *CARD, "--json").document["answers"]
    assert answer == {"line": 1, "data": "420401020304", "sw": "9000"}
    script = tmp_path / "s.apdu"
    script.write_text("# what the card is\n80F28002024F0000 => 9000 63xx\n\n80CA5F5000  # not there\n80CA004200\n")
    stopped = gp("gp", "script", "s.apdu", *CARD, "--json")
    assert stopped.code == 1
    assert stopped.document["failed"] == 4
    assert [item["sw"] for item in stopped.document["answers"]] == ["9000", "6A88"]
    script.write_text("80CA5F5000 => 6A88\n")
    assert gp("gp", "script", "s.apdu", *CARD).code == 0


def test_the_right_keys_are_found_and_the_wrong_ones_cost_nothing(gp: GpLine) -> None:
    found = gp("gp", "keys", "find", *CARD, "--json").document
    assert (found["found"], found["kdf"], found["key_version"], found["asked"]) == (True, "profile", "FF", ["FF"])
    wrong = gp("gp", "keys", "find", *CARD, "--key", WRONG, "--kdf", "emv", "--kdf", "visa2", "--kdf", "none", "--json")
    assert wrong.code == 1
    assert (wrong.document["found"], wrong.document["asked"]) == (False, [])
    for _ in range(12):
        assert gp("gp", "list", *CARD, "--key", WRONG, "--json").error == "no-key-set-fits-kept"
    assert gp("gp", "list", *CARD).code == 0


def test_the_guard_halts_and_a_person_forgives(gp: GpLine) -> None:
    codes = [gp("gp", "list", *CARD, "--key", WRONG, "--fresh", "--json").error for _ in range(3)]
    assert codes == ["no-key-set-fits", "no-key-set-fits", "authentication-halted"]
    assert gp("gp", "info", *CARD, "--json").document["guard"]["unfinished"] == 2
    assert gp("gp", "forgive", *CARD, "--json").document["forgiven"] == "card 4A5A0144FE0000000001"
    assert gp("gp", "forgive", *CARD, "--json").document["forgiven"] is None
    assert gp("gp", "list", *CARD).code == 0


def test_keys_put_list_delete(gp: GpLine) -> None:
    assert gp("gp", "keys", "put", *CARD, "--new-version", "20", "--new-key", NEW).code == 0
    versions = {key["version"] for key in gp("gp", "keys", "list", *CARD, "--json").document["keys"]}
    assert versions == {"20"}
    known = (*CARD, "--key", NEW, "--key-version", "20")
    assert gp("gp", "keys", "put", *known, "--new-version", "21", "--new-key", WRONG, "--new-kdf", "emv").code == 0
    assert gp("gp", "list", *CARD, "--key", WRONG, "--kdf", "none", "--kdf", "emv").code == 0
    assert gp("gp", "keys", "delete", "21", *known).code == 0
    assert {key["version"] for key in gp("gp", "keys", "list", *CARD, "--json").document["keys"]} == {"20"}


def test_rotation_from_factory_keys_and_on(gp: GpLine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = gp("gp", "keys", "rotate", *CARD, "--new-version", "01", "--new-key", NEW, "--new-kdf", "profile", "--json")
    assert first.document == {"key_version": "01", "steps": ["put", "proved"]}
    monkeypatch.setenv("PERMITCARD_GP_KEY", NEW)
    monkeypatch.setenv("PERMITCARD_GP_NEW_KEY", WRONG)
    old = ("--key-version", "01", "--kdf", "profile")
    second = gp("gp", "keys", "rotate", *CARD, *old, "--new-version", "02", "--json")
    assert second.document == {"key_version": "02", "steps": ["put", "proved", "deleted"]}
    assert gp("gp", "keys", "rotate", *CARD, *old, "--new-version", "02", "--finish", "--json").error == "rotation-none"
    monkeypatch.setenv("PERMITCARD_GP_KEY", WRONG)
    assert gp("gp", "list", *CARD).code == 0


def test_keys_of_a_centre(gp: GpLine) -> None:
    assert gp("keys", "init", "--try-out", "--centre", "centre").code == 0
    assert gp("gp", "keys", "rotate", *CARD, "--new-version", "01", "--new-centre", "centre").code == 0
    assert gp("gp", "list", *CARD, "--centre", "centre").code == 0


MISTAKES = [
    (("info", "--card", "nothing"), 2, "bad-address"),
    (("info", "--card", "sim:nothing.card"), 2, "image-missing"),
    (("list", *CARD, "--key", "zz"), 2, "gp-key-malformed"),
    (("list", *CARD, "--key-enc", WRONG), 2, "gp-key-incomplete"),
    (("list", *CARD, "--key", WRONG, "--kdf", "emv3"), 2, "key-template-malformed"),
    (("list", *CARD, "--level", "strong"), 2, "security-level-unsupported"),
    (("list", *CARD, "--domain", "A0"), 2, "gp-aid-malformed"),
    (("list", *CARD, "--domain", "A000000000"), 1, "card-refused"),
    (("list", *CARD, "--key-version", "100"), 2, "gp-key-version-malformed"),
    (("delete", "xyz", *CARD), 2, "gp-hex-malformed"),
    (("install", *CARD), 2, "gp-package-missing"),
    (("install", *CARD, "--package", PERMIT), 2, "gp-module-missing"),
    (("install", *CARD, "--package", PERMIT, "--combined"), 2, "gp-combined-without-file"),
    (
        ("install", *CARD, "--package", PERMIT, "--module", PERMIT_MODULE, "--privilege", "fly"),
        2,
        "gp-privilege-unknown",
    ),
    (("load", "none.cap", *CARD), 3, "file-failure"),
    (("store", "00", "--form", "xml", *CARD), 2, "gp-form-unknown"),
    (("store", "00", "--padding", "some", *CARD), 2, "gp-padding-unknown"),
    (("store", "0101FF", *CARD), 1, "grouping-malformed"),
    (("send", "80", *CARD), 2, "gp-script-malformed"),
    (("send", "80CA004200 => ok", *CARD), 2, "gp-script-malformed"),
    (("keys", "put", *CARD, "--new-version", "20"), 2, "gp-key-missing"),
    (("keys", "put", *CARD, "--new-version", "20", "--new-key", NEW, "--type", "rsa"), 2, "word-unknown"),
    (("keys", "rotate", *CARD, "--new-version", "20", "--new-key", NEW, "--finish", "--undo"), 2, "either-or"),
    (("keys", "rotate", *CARD, "--key", NEW, "--new-version", "20", "--new-key", NEW), 2, "gp-key-version-missing"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "error"), MISTAKES, ids=lambda value: " ".join(value) if isinstance(value, tuple) else None
)
def test_mistakes(gp: GpLine, arguments: tuple[str, ...], code: int, error: str) -> None:
    said = gp("gp", *arguments, "--json")
    assert (said.code, said.error) == (code, error)
    assert said.out == ""


def test_no_key_is_ever_shown(gp: GpLine, tmp_path: Path) -> None:
    texts = [
        said.out + said.err
        for said in (
            gp("gp", "list", *CARD, "--key", WRONG),
            gp("gp", "list", *CARD, "--key", f"{WRONG}00"),
            gp("gp", "keys", "find", *CARD, "--key", WRONG, "--json"),
            gp("gp", "keys", "put", *CARD, "--new-version", "20", "--new-key", NEW, "--json"),
        )
    ]
    texts += [path.read_text() for path in (tmp_path / "state").rglob("*.json")]
    assert not any(key.lower() in text.lower() for key in (WRONG, NEW) for text in texts)
    made = specimen_keys().derive(KeyName.FACTORY, "SCP03 ENC", bytes.fromhex("4A5A0144FE0000000001"), 16)
    assert not any(made.hex() in text.lower() for text in texts)


def test_a_key_in_a_file(gp: GpLine, tmp_path: Path) -> None:
    (tmp_path / "new.key").write_text(NEW + "\n")
    assert gp("gp", "keys", "put", *CARD, "--new-version", "20", "--new-key", "@new.key").code == 0
    assert gp("gp", "list", *CARD, "--key", "@new.key").code == 0
    assert gp("gp", "list", *CARD, "--key", "@nowhere", "--json").error == "file-failure"
