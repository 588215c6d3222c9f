"""Nothing of a run shows a name, number, account, PIN or key: logs, reports, database, prepared and temporary files.

The run is killed in the middle of a card and resumed, so that what only a crash leaves behind is searched too: the
database's write-ahead log, half-written files, temporary files. Left out are the cards and SAMs themselves, the
delivered file, and the passphrase of a try-out centre, which is there to be read.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import os
import shutil
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from permitcard.centre import Centre
from permitcard.products import permit_profile, sam_profile
from personalization.intake.applicant import Applicant
from personalization.intake.history import RememberedBatches
from personalization.intake.receipt import receive_batch
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.card_keys import issuer_domain_keys
from personalization.preparation.mailer import MailerFile
from personalization.preparation.prepared_file import PreparedFile
from personalization.terminal.holder import pin_block
from tests.console.command_line import CommandLine
from tests.console.killed_demo import killed_demo
from tests.console.needles import PIN, forms, search

CARDS = 40
MADE_BEFORE_THE_KILL = 3
LONG = 12
"""Parts of shorter numbers are series of zeros in synthetic data."""
ENCODINGS = ("utf-8", "utf-16-le", "gb18030")


@dataclass(frozen=True, slots=True)
class Run:
    """A run that was killed and resumed.

    Attributes:
        centre: the folder's paths.
        crashed: copy of the folder as the kill left it.
        outputs: what every command printed, one file a stream.
        temporary: TMPDIR of all commands.
    """

    centre: Centre
    crashed: Path
    outputs: Path
    temporary: Path

    @property
    def batch(self) -> str:
        """Identifier of the batch."""
        return next((self.centre.root / "batches").iterdir()).name


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("leaks")
    temporary, outputs, centre = folder / "tmp", folder / "outputs", Centre(folder / "centre")
    temporary.mkdir()
    outputs.mkdir()
    command = CommandLine(folder, {"TMPDIR": str(temporary)})
    written = killed_demo(command, centre, CARDS, MADE_BEFORE_THE_KILL)
    (outputs / "demo").write_text("\n".join(written), "utf-8")
    crashed = folder / "crashed"
    shutil.copytree(centre.root, crashed, ignore=shutil.ignore_patterns("cards", "sams", "delivered"))
    for number, arguments in enumerate(
        (
            ("batch", "resume", "--centre", centre.root),
            ("batch", "status", "--centre", centre.root, "--json"),
            ("stock", "show", "--centre", centre.root, "--json"),
            ("keys", "show", "--centre", centre.root),
        )
    ):
        outcome = command(*arguments)
        (outputs / f"{number}").write_text(outcome.out + "\n" + outcome.err, "utf-8")
    return Run(centre, crashed, outputs, temporary)


def personal(applicant: Applicant) -> dict[str, str]:
    """What nobody may learn of one applicant, and the most that a mask may show of it.

    Codes and days of the office (sex, ethnic group, area, authority, hotline, days of issue, production and
    endorsement) are the same for many and are no one's secret.
    """
    row = f"row {applicant.row_number}"
    found = {
        f"{row} name": applicant.name,
        f"{row} birth date": f"{applicant.birth_date:%Y%m%d}",
        f"{row} birth date with dashes": applicant.birth_date.isoformat(),
        f"{row} address": applicant.registered_address,
        f"{row} address but its first characters": applicant.registered_address[6:],
    }
    numbers = {
        "permit number": applicant.permit_number,
        "citizen number": applicant.citizen_number,
        "account": applicant.bank_account,
        "citizen card": applicant.citizen_card_number,
        "citizen card account": applicant.citizen_card_account,
    }
    if applicant.residence is not None:
        numbers["registration number"] = applicant.residence.registration_number
        found[f"{row} current address"] = applicant.residence.current_address
    for name, number in numbers.items():
        if number is not None:
            found[f"{row} {name}"] = number
        if number is not None and len(number) >= LONG:
            found[f"{row} {name} but its end"] = number[:-4]
            found[f"{row} {name} but its beginning"] = number[2:]
    return {label: value for label, value in found.items() if len(value) > 1}


def public_words(keys: KeyStore, batch: str, applicants: Iterable[Applicant]) -> set[str]:
    """Six digits that stand in reports and that a PIN may equal by chance: codes of areas, check values of keys."""
    values = {store.check_value(name) for store in (keys, keys.of_batch(batch)) for name in KeyName}
    return {value.hex() for value in values} | {one.area_code for one in applicants}


def portraits(applicants: tuple[Applicant, ...]) -> dict[str, bytes]:
    return {f"row {one.row_number} portrait": one.portrait[-600:-560] for one in applicants}


def store_keys(keys: FileKeyStore, *batches: str) -> dict[str, bytes]:
    table = keys._table()
    found = {
        f"{kind} key {name}": bytes.fromhex(value)
        for kind in ("symmetric", "private")
        for name, value in table[kind].items()
    }
    for batch in batches:
        sealers = keys._batch_keys.read(batch, lambda sealed, context: keys.unseal(KeyName.TRANSPORT, sealed, context))
        found |= {f"{name} key of {batch}": sealer.key for name, sealer in sealers.items()}
    return found


def card_keys(run: Run, keys: FileKeyStore) -> dict[str, bytes]:
    """Keys of cards, derived anew from the numbers that the journal knows."""
    with contextlib.closing(sqlite3.connect(f"file:{run.centre.journal}?mode=ro", uri=True)) as connection:
        numbers = [bytes.fromhex(row[0]) for row in connection.execute("SELECT card_number FROM blanks LIMIT 6")]
    found: dict[str, bytes] = {}
    with PreparedFile(run.centre.batch(run.batch) / f"{run.batch}.prepared", keys.of_batch(run.batch)) as prepared:
        records = [prepared.record(index) for index in range(len(prepared))]
    for record in records:
        found[f"row {record.row_number} chip key"] = record.chip_private_key
    for number in numbers:
        for name in (KeyName.FACTORY, KeyName.CARD):
            domain = issuer_domain_keys(keys, name, number)
            values = {"ENC": domain.enc, "MAC": domain.mac, "DEK": domain.dek}
            found |= {f"{name} {use} of {number.hex()}": key for use, key in values.items()}
    for row in (*permit_profile().keys, *sam_profile().keys):
        if row.label and row.master:
            for number in numbers[:2]:
                found[f"{row.name} of {number.hex()}"] = keys.derive(
                    KeyName(row.master), row.label, row.derivation_context(number), row.length
                )[:16]
    return found


def pins(run: Run, keys: FileKeyStore, applicants: tuple[Applicant, ...]) -> dict[str, str | bytes]:
    found: dict[str, str | bytes] = {}
    with MailerFile(run.centre.batch(run.batch) / f"{run.batch}.mailer", keys.of_batch(run.batch)) as letters:
        for applicant in applicants:
            for name, pin in letters.letter(applicant.row_number).pins.items():
                found[f"{PIN} {name} of row {applicant.row_number}"] = pin
                found[f"{PIN} block {name} of row {applicant.row_number}"] = pin_block(pin)
    return found


@pytest.fixture(scope="module")
def public(run: Run) -> set[str]:
    """Words that a PIN may equal by chance: of keys and areas, and the numbers in the names of cards' files."""
    delivered = next((run.centre.root / "delivered").glob("*.zip"))
    applicants = receive_batch(delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    numbers = {part for path in run.centre.cards.iterdir() for part in path.name.partition(".")[0].split("-")}
    assert f"{CARDS:06d}" in numbers
    return public_words(run.centre.key_store().open(), run.batch, applicants) | numbers


@pytest.fixture(scope="module")
def secrets(run: Run) -> dict[str, str | bytes]:
    delivered = next((run.centre.root / "delivered").glob("*.zip"))
    applicants = receive_batch(delivered, RememberedBatches(), dt.datetime.now(dt.UTC)).applicants
    assert len(applicants) == CARDS
    keys = run.centre.key_store().open()
    assert isinstance(keys, FileKeyStore)
    found: dict[str, str | bytes] = {"passphrase": run.centre.test_passphrase.read_text("ascii").strip()}
    for applicant in applicants:
        found |= personal(applicant)
    return {
        **found,
        **portraits(applicants),
        **store_keys(keys, run.batch),
        **card_keys(run, keys),
        **pins(run, keys, applicants),
    }


def searched(root: Path) -> list[Path]:
    """Everything of a centre but what is meant to hold secrets in clear."""
    spared = {"cards", "sams", "delivered", "TRY-OUT-passphrase.txt"}
    return [path for path in sorted(root.iterdir()) if path.name not in spared]


def test_a_killed_run_leaves_nothing_readable(run: Run, secrets: dict[str, str | bytes], public: set[str]) -> None:
    names = {path.name for path in run.crashed.iterdir()}
    assert (run.crashed / "journal.sqlite-wal").stat().st_size > 0
    assert {"journal.sqlite", "keys.json", "batches"} <= names
    assert search(searched(run.crashed), secrets, public) == []


def test_a_finished_run_leaves_nothing_readable(run: Run, secrets: dict[str, str | bytes], public: set[str]) -> None:
    assert (run.centre.report(run.batch) / "report.json").exists()
    assert search(searched(run.centre.root), secrets, public) == []


def test_no_command_prints_a_secret_and_none_stays_in_temporary_files(
    run: Run, secrets: dict[str, str | bytes], public: set[str]
) -> None:
    assert f"{CARDS} cards made and inspected" in (run.outputs / "0").read_text("utf-8")
    assert search([run.outputs, run.temporary], secrets, public) == []
    assert list(run.temporary.iterdir()) == []


def test_the_secrets_are_those_of_the_run(run: Run, secrets: dict[str, str | bytes]) -> None:
    """The search would find them where they are meant to be: names in the delivery, the passphrase in its file."""
    delivered = search([run.centre.root / "delivered"], {k: v for k, v in secrets.items() if k.startswith("row ")})
    assert len({finding.partition(" as ")[0] for finding in delivered if " name as utf-8 in " in finding}) == CARDS
    assert search([run.centre.test_passphrase], secrets) != []
    cards = {label: secret for label, secret in secrets.items() if label.startswith(("card ", PIN + " block"))}
    assert search([run.centre.cards], cards) != []


def plant_plain(path: Path, value: bytes) -> None:
    path.write_bytes(b"before " + value + b" after")


def plant_zip(path: Path, value: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/a.txt", b"before " + value + b" after")


def plant_zlib(path: Path, value: bytes) -> None:
    path.write_bytes(b"head" + zlib.compress(b"x" * 500 + value) + b"tail")


def plant_database(path: Path, value: bytes) -> None:
    """In a compressed value that is longer than a page of the database."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (v BLOB)")
        connection.execute("INSERT INTO t VALUES (?)", (zlib.compress(os.urandom(20_000) + value),))
        connection.commit()


def plant_nested(path: Path, value: bytes) -> None:
    plant_zip(path.with_suffix(".inner"), value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(path.with_suffix(".inner"), "nested.zip")
    path.with_suffix(".inner").unlink()


PLANTS: tuple[Callable[[Path, bytes], None], ...] = (plant_plain, plant_zip, plant_zlib, plant_database, plant_nested)


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("secret", ["330381199001011234", "欧阳建国", "𠮷田", bytes(range(16, 32))])
def test_a_planted_leak_is_found_in_every_form(
    tmp_path: Path, plant: Callable[[Path, bytes], None], secret: str | bytes
) -> None:
    for form, value in forms(secret).items():
        path = tmp_path / "leak"
        plant(path, value)
        found = search([path], {"secret": secret})
        assert any(f"secret as {form} in" in finding for finding in found), form
        assert str(secret) not in "".join(found)
        path.unlink()


@pytest.mark.parametrize("offset", range(3))
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_leak_inside_longer_base64_is_found(tmp_path: Path, offset: int, encoding: str) -> None:
    name = "诸葛建国"
    (tmp_path / "log").write_bytes(base64.b64encode(b"." * offset + name.encode(encoding) + b"and more"))
    assert search([tmp_path], {"name": name}) != []


def test_a_two_character_name_is_found_in_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes("制卡 王伟 完成".encode("gb18030"))
    assert search([tmp_path], {"name": "王伟"}) != []


def test_a_pin_is_found_as_text_and_a_number_of_microseconds_is_no_pin(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"microseconds": 246802, "at": [246802, 1]}', "utf-8")
    assert search([tmp_path], {f"{PIN} 1": "246802"}) == []
    (tmp_path / "log").write_text('{"pin": "246802"}', "utf-8")
    assert search([tmp_path], {f"{PIN} 1": "246802"}) != []
    assert search([tmp_path], {f"{PIN} 1": "246802"}, {"246802"}) == []


@pytest.mark.parametrize(
    "around", ['"%s"', "PIN=%s;", "PIN%s", "(%s)", "%s\n", '["%s"]', "第%s号", "x,%s,y", "PIN %s is"]
)
def test_few_digits_are_found_where_they_stand_alone(tmp_path: Path, around: str) -> None:
    (tmp_path / "log").write_text(around % "246802", "utf-8")
    assert search([tmp_path], {f"{PIN} 1": "246802"}) != []
    assert search([tmp_path], {"day of birth": "246802"}) != []


@pytest.mark.parametrize("around", ["1%s", "%s1", "0.%s s", "a%s", "%sf", "50438a%s00", "RCO20261127%s"])
def test_digits_of_longer_numbers_are_no_pin(tmp_path: Path, around: str) -> None:
    (tmp_path / "log").write_text(around % "246802", "utf-8")
    assert search([tmp_path], {f"{PIN} 1": "246802"}) == []


def test_the_time_of_a_certificate_is_no_pin_and_a_pin_in_hexadecimal_is_one(tmp_path: Path) -> None:
    time_in_der = b"\x17\x0d261127246802Z"
    (tmp_path / "log").write_text("30820200" + time_in_der.hex() + "0603", "utf-8")
    assert search([tmp_path], {f"{PIN} 1": "246802"}) == []
    (tmp_path / "log").write_text("30820200" + b"\x0c\x06246802".hex() + "0603", "utf-8")
    assert search([tmp_path], {f"{PIN} 1": "246802"}) != []


def test_four_letters_of_base64_are_no_name(tmp_path: Path) -> None:
    assert "界书".encode("utf-16-le") == b"LufN"
    (tmp_path / "log").write_text("AAAALufNAAAA", "utf-8")
    assert search([tmp_path], {"name": "界书"}) == []
