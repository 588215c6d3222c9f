"""Workers of a Dask scheduler make what one process makes, and what they say and leave names nobody and holds no key.

All lines between client, scheduler and workers go through proxies that keep every byte; workers may hold next to
nothing in memory, so that they write all their results to disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.preparing import Loaded, Staff, prepare
from permitcard.products import permit_profile
from personalization.errors import PersonalizationError
from personalization.intake.sample.unpacked import write_unpacked_sample
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KEY_LENGTHS
from personalization.preparation.bulk.workers import Order, Stage, Workplace, carry_out
from tests.console.command_line import ROOT
from tests.console.needles import PIN, search
from tests.console.test_no_leaks import personal, portraits, public_words, store_keys
from tests.doubles.prepared_batches import judge, rows_of
from tests.doubles.recording_proxy import RecordingProxy

distributed: Any = pytest.importorskip("distributed")

RESIDENTS = 24
CHUNK = 8
GIVEN = {name: hashlib.sha256(b"of all" + name.value.encode()).digest()[:size] for name, size in KEY_LENGTHS.items()}
PLANTED = "planted 330381199002281234 阿依古丽"


@dataclass(frozen=True, slots=True)
class Lines:
    """A cluster of which every line is kept.

    Attributes:
        address: of the scheduler, as clients and workers are told it.
        recorded: what went over the lines.
        workers: folders and outputs of the workers.
    """

    address: str
    recorded: Path
    workers: Path


@contextmanager
def worker(scheduler: str, lines: Lines, name: str) -> Generator[None]:
    """A worker's process, which is called back through a proxy of its own."""
    script, folder = ROOT / "tests" / "doubles" / "cluster_worker.py", lines.workers / name
    with RecordingProxy(lines.recorded / name) as proxy, (lines.workers / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(script), scheduler, proxy.address, str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=log,
            encoding="utf-8",
        )
        with process:
            try:
                assert process.stdout is not None
                proxy.connect_to(process.stdout.readline().strip())
                yield
            finally:
                process.kill()


@pytest.fixture
def lines(tmp_path: Path) -> Generator[Lines]:
    (tmp_path / "workers").mkdir()
    with ExitStack() as held:
        cluster = held.enter_context(
            distributed.LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0")
        )
        proxy = held.enter_context(RecordingProxy(tmp_path / "recorded" / "scheduler"))
        proxy.connect_to(cluster.scheduler_address)
        lines = Lines(proxy.address, tmp_path / "recorded", tmp_path / "workers")
        for name in ("one", "two"):
            held.enter_context(worker(proxy.address, lines, name))
        yield lines


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    place = Centre(tmp_path / "centre")
    FileKeyStore.create(place.keys, place.make_test_passphrase().read(), given=GIVEN, scrypt_n=16)
    return place


def silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


def loaded(centre: Centre, file: Path, staff: Staff) -> Loaded:
    with Job.open(centre) as job:
        found = prepare(job, file, staff, chunk_rows=CHUNK, progress=silent)
    assert isinstance(found, Loaded), found
    return found


def content(centre: Centre, found: Loaded) -> list[object]:
    keys = centre.key_store().open().of_batch(found.identifier)
    return [row.without_what_is_drawn() for row in rows_of(found.manifest, keys, found.identifier)]


def test_a_cluster_makes_what_one_process_makes_and_says_nothing_of_it(
    centre: Centre, lines: Lines, tmp_path: Path
) -> None:
    delivery = write_unpacked_sample(tmp_path / "delivery", RESIDENTS, 5, faces=6)
    alone = Centre(Path(shutil.copytree(centre.root, tmp_path / "alone")))
    found = loaded(centre, delivery, Staff(scheduler=lines.address))
    assert content(centre, found) == content(alone, loaded(alone, delivery, Staff()))
    with distributed.Client(lines.address, set_as_default=False) as client:
        place = Workplace(centre.batch(found.identifier), found.identifier, centre.key_store(), permit_profile)
        refused = client.submit(carry_out, Order(place, Stage.MAKE, 1 + RESIDENTS // CHUNK), pure=False)
        with pytest.raises(PersonalizationError, match="work-file-damaged"):
            refused.result()  # an error comes back over the line with its traceback
        assert search([lines.recorded, lines.workers], secrets_of(centre, found), public_of(centre, found)) == []

        planted = client.submit(str, PLANTED)
        assert planted.result() == PLANTED
        heard, kept = (search([folder], {"planted": PLANTED}) for folder in (lines.recorded, lines.workers))
    for name in ("one", "two"):
        assert any(path.stat().st_size for path in (lines.recorded / name).iterdir()), "the scheduler called back"
    assert any("recorded/scheduler/" in finding for finding in heard)
    assert any("/storage/" in finding for finding in kept), "what a worker holds is on its disk"
    assert b"carry_out" in b"".join(path.read_bytes() for path in lines.recorded.glob("scheduler/*"))


def public_of(centre: Centre, found: Loaded) -> set[str]:
    keys = centre.key_store().open()
    rows = rows_of(found.manifest, keys.of_batch(found.identifier), found.identifier)
    return public_words(keys, found.identifier, (row.applicant for row in rows))


def secrets_of(centre: Centre, found: Loaded) -> dict[str, str | bytes]:
    """All that nobody may learn of the batch; its signatures and letters are looked at on the way."""
    keys = centre.key_store().open()
    assert isinstance(keys, FileKeyStore)
    assert judge(found.manifest, keys.of_batch(found.identifier), found.identifier) == RESIDENTS
    secrets: dict[str, str | bytes] = {f"key {name.value}": value for name, value in GIVEN.items()}
    secrets |= store_keys(keys, found.identifier)
    secrets["passphrase"] = centre.test_passphrase.read_bytes().strip()
    for row in rows_of(found.manifest, keys.of_batch(found.identifier), found.identifier):
        secrets |= personal(row.applicant)
        secrets |= portraits((row.applicant,))
        secrets |= {f"{PIN} {row.index} {name}": pin for name, pin in row.letter.pins.items()}
        secrets[f"chip key {row.index}"] = row.record.chip_private_key
    return secrets
