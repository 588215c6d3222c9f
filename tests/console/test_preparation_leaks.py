"""A preparation that is killed leaves no name, number, picture, PIN or key in clear, and a finished one none either.

The process is killed with kill -9 in the middle of a chunk of either stage; the keys are known ones, in a file store
and in a token.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from permitcard.centre import Centre
from personalization.errors import PersonalizationError
from personalization.intake.sample.unpacked import write_unpacked_sample
from personalization.keys.file_store import FileKeyStore
from personalization.keys.hsm.making import Maker, create_hsm_store
from personalization.keys.hsm.store import HsmKeyStore
from personalization.keys.hsm.token import TokenPlace
from personalization.keys.keystore import KEY_LENGTHS, KeyStore
from personalization.keys.passphrase import PassphraseSource
from tests.console.command_line import CommandLine
from tests.console.needles import PIN, search
from tests.console.test_no_leaks import personal, portraits, public_words
from tests.doubles.prepared_batches import judge, rows_of
from tests.doubles.softhsm import OFFICER_PIN, USER_PIN, fresh_token

RESIDENTS = 60
GIVEN = {
    name: hashlib.sha256(b"known " + name.value.encode()).digest()[:length] for name, length in KEY_LENGTHS.items()
}


@dataclass(frozen=True, slots=True)
class Place:
    """A centre with known keys.

    Attributes:
        centre: its folder.
        command: runs commands with its keys.
        open_keys: opens its key store in this process.
        secrets: what opens the store.
    """

    centre: Centre
    command: CommandLine
    open_keys: Callable[[], KeyStore]
    secrets: dict[str, str | bytes]


def in_a_file(folder: Path, variables: dict[str, str]) -> Place:
    centre = Centre(folder / "centre")
    passphrase = "a passphrase that nobody writes down"
    centre.make_root()
    FileKeyStore.create(centre.keys, passphrase.encode(), given=GIVEN, scrypt_n=16)
    command = CommandLine(folder, {**variables, "PERMITCARD_PASSPHRASE": passphrase})
    return Place(
        centre, command, lambda: FileKeyStore.open(centre.keys, passphrase.encode()), {"passphrase": passphrase}
    )


def in_a_token(folder: Path, variables: dict[str, str]) -> Place:
    centre = Centre(folder / "centre")
    hsm, label = fresh_token()
    place = TokenPlace(hsm.module, label)
    os.environ["TEST_HSM_PIN"], os.environ["TEST_HSM_SO_PIN"] = USER_PIN, OFFICER_PIN
    pins = PassphraseSource.environment("TEST_HSM_PIN"), PassphraseSource.environment("TEST_HSM_SO_PIN")
    create_hsm_store(Maker(place, *pins), production=False, given=GIVEN)
    centre.make_root()
    centre.name_token(place)
    command = CommandLine(folder, {**variables, **hsm.variables, "PERMITCARD_PKCS11_TOKEN": label})
    secrets: dict[str, str | bytes] = {"user": USER_PIN, "officer": OFFICER_PIN}
    return Place(centre, command, lambda: HsmKeyStore.open(place, USER_PIN.encode()), secrets)


@pytest.mark.parametrize("make", [pytest.param(in_a_file, marks=pytest.mark.long), in_a_token])
def test_nothing_lies_in_clear_after_a_kill_nor_at_the_end_nor_after_erasing(
    tmp_path: Path, make: Callable[[Path, dict[str, str]], Place]
) -> None:
    temporary, outputs = tmp_path / "tmp", tmp_path / "outputs"
    temporary.mkdir()
    outputs.mkdir()
    place = make(tmp_path, {"TMPDIR": str(temporary)})
    centre = place.centre
    delivery = write_unpacked_sample(tmp_path / "delivered", RESIDENTS, 31, faces=9)
    prepare = ("batch", "prepare", delivery, "--centre", centre.root, "--workers", "0", "--json")
    roots = [centre.root, temporary, outputs]
    for stage, begun in (("check", "work/checked/.0*.part"), ("prepare", "chunks/.0*.part")):
        script = [
            sys.executable,
            str(Path(__file__).with_name("preparation_killed.py")),
            str(centre.root),
            str(delivery),
        ]
        killed = subprocess.run(
            [*script, stage], cwd=tmp_path, env=place.command.environment(), capture_output=True, check=False
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        (outputs / f"killed-{stage}").write_bytes(killed.stdout + killed.stderr)
        assert list(centre.root.glob(f"batches/*/{begun}")), "it was in the middle of a chunk"
        crashed = tmp_path / f"crashed-{stage}"
        shutil.copytree(centre.root, crashed)
        roots.append(crashed)

    done = place.command(*prepare)
    (outputs / "done").write_text(done.out + done.err, "utf-8")
    batch = str(done.document["batch"])
    secrets: dict[str, str | bytes] = {f"key {name.value}": value for name, value in GIVEN.items()}
    secrets |= place.secrets
    keys = place.open_keys()
    manifest = centre.batch(batch) / f"{batch}.manifest"
    assert judge(manifest, keys.of_batch(batch), batch) == RESIDENTS
    for row in rows_of(manifest, keys.of_batch(batch), batch):
        if row.index % 30 == 0:
            secrets |= personal(row.applicant)
            secrets |= portraits((row.applicant,))
            secrets |= {f"{PIN} {row.index} {name}": pin for name, pin in row.letter.pins.items()}
            secrets[f"chip key {row.index}"] = row.record.chip_private_key
    public = public_words(keys, batch, (row.applicant for row in rows_of(manifest, keys.of_batch(batch), batch)))
    assert search(roots, secrets, public) == []

    erased = place.command(
        "batch", "erase", batch, "--centre", centre.root, "--input", tmp_path / "delivered", "--json"
    )
    (outputs / "erased").write_text(erased.out + erased.err, "utf-8")
    assert list((tmp_path / "delivered").iterdir()) == []
    assert not centre.batch(batch).exists()
    with pytest.raises(PersonalizationError, match="batch-keys-missing"):
        keys.of_batch(batch)
    assert search([centre.root, temporary, outputs], secrets, public) == []
    keys.close()
