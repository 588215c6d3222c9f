"""Builds docs/card-specification.md from the profiles of the applications and the template beside it.

Usage: python docs/build_card_specification.py [--check]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from card_os.iso7816.apdu import CommandApdu
from personalization.keys.derivation import Deriver
from personalization.profile import FILE_ACCESS, CardProfile
from personalization.profile_rows import DgiRow, FieldRow, FileRow, KeyRow, ObjectRow, Rule
from personalization.terminal.authentication import MutualAuthentication, cmac
from personalization.terminal.secure_messaging import SessionKeys, TerminalSecureMessaging, pad

HERE: Final = Path(__file__).resolve().parent
PAGE: Final = HERE / "card-specification.md"
TEMPLATE: Final = "card-specification.template.md"

_GROUPINGS: Final = {
    "files": "FCP templates one after the other, one a file",
    "content": "offset (2) ‖ content; any number of them; records at record number − 1 times record size",
    "load_key": "AES-256 key (32), stored under reference 9F until the application is PERSONALIZED",
    "masters": "repeated: reference (1) ‖ 00 ‖ 00 ‖ length (1) ‖ master, AES key wrap (RFC 3394) under the load "
    "key (24) ‖ leftmost 3 bytes of CMAC(master, 16 × 00)",
    "clock": "public key of the clock authority, 04 ‖ x ‖ y (65), stored under reference A1 ‖ first bound YYYYMMDD (8)",
    "keys": "repeated: reference (1) ‖ role (1) ‖ try limit (1) ‖ length (1) ‖ key ‖ check value (3)",
    "pins": "repeated: reference (1) ‖ PIN number (1) ‖ try limit (1) ‖ PIN block (8)",
    "chip": "private key of P-256 (32), stored under reference A0",
    "identification": "ASCII, 1 to 32 characters: profile name, space, version",
}
_ARBITRATION: Final = {
    "concurrent": "both work; commands are executed one at a time",
    "first": "the second one is mute until the first is off",
}


def build() -> str:
    """The whole page."""
    permit, sam = (CardProfile.load(files(f"applet.{name}") / "profile.toml") for name in ("permit", "sam"))
    # The page is Markdown and not HTML: escaping would spoil it, and nothing in it comes from outside.
    environment = Environment(  # noqa: S701 - see above
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, keep_trailing_newline=True
    )
    example_file = permit.file_named("EF.STATUS")
    return environment.get_template(TEMPLATE).render(
        permit=permit,
        sam=sam,
        profiles=(permit, sam),
        aid=_aid,
        arbitration=_ARBITRATION[permit.interfaces.arbitration],
        size=_size,
        content=_content,
        sections=_sections(permit),
        rule_name=_rule_name,
        bits=_bits(permit),
        example_file=example_file,
        example_fcp=permit.fcp(example_file, example_file.size or 0).hex().upper(),
        templates=list(_templates(permit)),
        layouts=list(_layouts(permit)),
        coded=_coded,
        derivation=_derivation,
        grouping=_grouping,
        example=_example(permit),
    )


def _aid(value: bytes) -> str:
    return f"`{value.hex().upper()}`"


def _size(row: FileRow) -> str:
    if row.records:
        return f"{row.records} × {row.record_size}"
    return str(row.size) if row.size is not None else f"its content, at most {row.maximum}"


def _content(row: FileRow) -> str:
    names = {
        "tlv": f"template {row.template or 0:04X}",
        "ga490": "GA/T 490 record",
        "jpeg": "JPEG",
        "signature": "data objects, see below",
        "point": "04 ‖ x (32) ‖ y (32)",
    }
    return names.get(row.content, f"fields of *{row.content}*")


def _sections(profile: CardProfile) -> list[tuple[str, str]]:
    names = dict.fromkeys(row.section for row in profile.files)
    return [(name, ", ".join(row.name for row in profile.files if row.section == name)) for name in names]


def _rule_name(rule: Rule | None) -> str:
    if rule is None:
        return "never"
    if isinstance(rule, str):
        return f"rule of the file: {rule.removeprefix(FILE_ACCESS)}" if rule.startswith(FILE_ACCESS) else f"*{rule}*"
    return ", ".join(rule) or "never"


def _bits(profile: CardProfile) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    names = ["contact", "contactless", "secure_messaging", "secure_channel"]
    names += [pin.name for pin in profile.pins] + [key.name for key in profile.keys if key.role]
    rows = [(f"`{name}`", f"{profile.mask(name):08X}") for name in names]
    half = (len(rows) + 1) // 2
    return list(zip_longest(rows[:half], rows[half:], fillvalue=("", "")))


def _templates(profile: CardProfile) -> Iterator[tuple[str, str, tuple[ObjectRow, ...]]]:
    for row in profile.files:
        if row.template is not None:
            yield f"{row.template:04X}", row.name, profile.objects_of(row.template)


def _layouts(profile: CardProfile) -> Iterator[tuple[str, tuple[FieldRow, ...]]]:
    for row in profile.files:
        if fields := profile.fields_of(row.content):
            yield f"{row.name}{', one record' if row.records else ''}", fields


def _coded(item: FieldRow | ObjectRow) -> str:
    if isinstance(item.values, str):
        return f", table *{item.values}*"
    if not item.values:
        return ""
    return ": " + ", ".join(f"{code} {title.en} {title.zh}" for code, title in item.values.items())


def _derivation(key: KeyRow) -> str:
    if key.master is None:
        return "made for one card"
    if key.label is None:
        return f"the master `{key.master}` itself"
    context = f"{key.generation:02X}" if key.context == "generation" else "card number"
    return f'derive({key.master}, "{key.label}", {context}, {key.length})'


def _grouping(row: DgiRow) -> str:
    return _GROUPINGS[row.kind]


def _example(profile: CardProfile) -> dict[str, object]:
    """A worked example with fixed keys and nonces; a vendor can check each value."""
    master, card_number = bytes(range(16)), bytes.fromhex("4A4A0001000700000001")
    key_row, concealment = profile.key("inspection"), profile.key("concealment")
    role_key = Deriver(master).derive("ROLE", card_number, key_row.length)
    hidden_key = Deriver(master).derive("CONCEAL", concealment.derivation_context(card_number), concealment.length)
    random = bytes(range(0x80, 0x90))
    sealed = random + _cbc(hidden_key[:16], pad(card_number), random)
    challenge, nonce, share, answer = (bytes((value,)) * 16 for value in (0xC1, 0xC2, 0xC3, 0xC4))
    draws = iter((nonce, share))
    run = MutualAuthentication(role_key, key_row.reference, challenge, lambda _: next(draws))
    command = run.command()
    cryptogram = _cbc(role_key[:16], challenge + nonce + answer, bytes(16))
    response = cryptogram + cmac(role_key[16:], bytes((0x02, key_row.reference)) + cryptogram)
    keys = run.complete(response)
    return {
        "master": master.hex().upper(),
        "card_number": card_number.hex().upper(),
        "concealment_key": hidden_key.hex().upper(),
        "concealment_random": random.hex().upper(),
        "concealed": (sealed + cmac(hidden_key[16:], sealed)[:8]).hex().upper(),
        "authentication": [
            ("K.ENC ‖ K.MAC", role_key.hex().upper()),
            ("RND.IC", challenge.hex().upper()),
            ("RND.IFD", nonce.hex().upper()),
            ("K.IFD", share.hex().upper()),
            ("K.IC", answer.hex().upper()),
            ("command data", command.hex().upper()),
            ("response data", response.hex().upper()),
            ("KS.ENC", keys.encryption.hex().upper()),
            ("KS.MAC", keys.mac.hex().upper()),
        ],
        "messaging": [(name, value.hex().upper()) for name, value in _messaging(profile, keys)],
    }


def _messaging(profile: CardProfile, keys: SessionKeys) -> list[tuple[str, bytes]]:
    """A command that reads and one that brings data, with their answers; the terminal's code accepts the answers."""
    status = profile.file_named("EF.STATUS")
    terminal = TerminalSecureMessaging(keys)
    read = CommandApdu(0x00, 0xB0, 0x80 | status.sfi, 0x00, b"", 16)
    verify = CommandApdu(0x00, 0x20, 0x00, profile.pins[0].reference, bytes.fromhex("26123456FFFFFFFF"))
    content = b"\x01" + b"20270101" + b"2026010"
    protected = terminal.protect(read)
    answer = _response(keys, 2, content)
    terminal.open(answer)
    second = terminal.protect(verify)
    done = _response(keys, 4, b"")
    terminal.open(done)
    return [
        ("plain command", read.encode()),
        ("protected command, SSC = 1", protected),
        ("what is read", content),
        ("protected response, SSC = 2", answer),
        ("plain VERIFY", verify.encode()),
        ("protected VERIFY, SSC = 3", second),
        ("its protected response, SSC = 4", done),
    ]


def _response(keys: SessionKeys, counter: int, data: bytes) -> bytes:
    """A protected response by section 8, ending with 9000."""
    ssc = counter.to_bytes(16, "big")
    objects = b"\x99\x02\x90\x00"
    if data:
        initial = _cbc(keys.encryption, ssc, bytes(16))
        cryptogram = _cbc(keys.encryption, pad(data), initial)
        objects = bytes((0x87, len(cryptogram) + 1, 0x01)) + cryptogram + objects
    return objects + b"\x8e\x08" + cmac(keys.mac, ssc + pad(objects))[:8] + b"\x90\x00"


def _cbc(key: bytes, data: bytes, initial: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CBC(initial)).encryptor().update(data)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` tell by the exit code whether it is up to date."""
    page = build()
    if arguments == ["--check"]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
