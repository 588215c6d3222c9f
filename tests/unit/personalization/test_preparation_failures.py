"""What can go wrong with a large delivery: each time a clear word, nothing lost, and on it goes when it is mended."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import pickle
import resource
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from permitcard.centre import Centre
from permitcard.job import Job
from permitcard.preparing import Loaded, Staff, prepare
from personalization.errors import PersonalizationError
from personalization.intake.delivery import PICTURES_END, RESIDENCE_END
from personalization.intake.delivery_writer import pack_archive
from personalization.intake.limits import ArchiveLimits
from personalization.intake.sample.unpacked import write_unpacked_sample
from personalization.intake.zip_directory import ZipDirectory, ZipEntry
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KEY_LENGTHS
from personalization.preparation.bulk.engine import Refusal
from tests.console.command_line import CommandLine
from tests.console.needles import search
from tests.console.test_no_leaks import personal
from tests.doubles.prepared_batches import judge, rows_of
from tests.doubles.softhsm import SoftHsm

RESIDENTS = 24
CHUNK = 8
RESIDENCE_CHUNKS = 2
GIVEN = {name: hashlib.sha256(name.value.encode()).digest()[:length] for name, length in KEY_LENGTHS.items()}
"""Keys that the tests know, to look for them."""


def silent(stage: str, done: int, total: int) -> None:
    del stage, done, total


@pytest.fixture(scope="module")
def delivery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_unpacked_sample(tmp_path_factory.mktemp("delivery"), RESIDENTS, 9, faces=5)


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    place = Centre(tmp_path / "centre")
    FileKeyStore.create(place.keys, place.make_test_passphrase().read(), given=GIVEN, scrypt_n=16)
    return place


def attempt(centre: Centre, file: Path, staff: Staff | None = None, **more: Any) -> Loaded | Refusal:
    with Job.open(centre) as job:
        return prepare(job, file, staff or Staff(), chunk_rows=CHUNK, **{"progress": silent, **more})


def told(centre: Centre, file: Path, staff: Staff | None = None, **more: Any) -> tuple[str, int]:
    with pytest.raises(PersonalizationError) as caught:
        attempt(centre, file, staff, **more)
    return caught.value.code, caught.value.exit_code


def goes_on(centre: Centre, file: Path) -> Loaded:
    """The same delivery is prepared, whole and sound."""
    found = attempt(centre, file)
    assert isinstance(found, Loaded), found
    keys = centre.key_store().open().of_batch(found.identifier)
    assert judge(found.manifest, keys, found.identifier) == RESIDENTS
    return found


def nothing_left(centre: Centre) -> bool:
    keys = centre.root / "batch-keys"
    return not list((centre.root / "batches").glob("RCO*")) and not (keys.exists() and any(keys.iterdir()))


# ------------------------------------------------------------ deliveries


def copy_of(delivery: Path, folder: Path) -> Path:
    folder.mkdir()
    for end in (".csv", PICTURES_END, RESIDENCE_END):
        shutil.copy(delivery.with_name(delivery.stem + end), folder)
    return folder / delivery.name


def pictures(file: Path, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> None:
    path = file.with_name(file.stem + PICTURES_END)
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    path.write_bytes(pack_archive(change(entries)))


def bomb(file: Path) -> None:
    with zipfile.ZipFile(file.with_name(file.stem + PICTURES_END), "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(1 << 24))


def link(file: Path) -> None:
    entry = zipfile.ZipInfo("1.jpg")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file.with_name(file.stem + PICTURES_END), "a") as archive:
        archive.writestr(entry, "/etc/passwd")


def huge_cell(file: Path) -> None:
    """A table of 100 MB."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write('"' + "9" * 100_000_000)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (bomb, "batch-archive-bomb"),
        (link, "batch-archive-path"),
        (lambda file: pictures(file, lambda found: [*found, ("../../centre/keys.json", b"{}")]), "batch-archive-path"),
        (lambda file: pictures(file, lambda found: [*found, ("/etc/cron.d/x", b"")]), "batch-archive-path"),
        (lambda file: file.with_name(file.stem + PICTURES_END).write_bytes(b"PK no zip"), "batch-archive-unreadable"),
        (huge_cell, "batch-table-unreadable"),
        (lambda file: file.write_bytes("姓名".encode("utf-16")), "batch-table-encoding"),
        (lambda file: file.write_text("a,b\n", "utf-8"), "batch-table-header"),
    ],
    ids=["bomb", "link", "traversal", "absolute", "no-zip", "100-MB", "utf-16", "headings"],
)
def test_a_delivery_that_cannot_be_used_leaves_nothing(
    centre: Centre, tmp_path: Path, delivery: Path, spoil: Callable[[Path], None], code: str
) -> None:
    file = copy_of(delivery, tmp_path / "spoilt")
    spoil(file)
    assert told(centre, file) == (code, 1)
    assert nothing_left(centre)
    assert not (tmp_path / "centre" / "keys.json").read_text("utf-8").startswith("{}")


def formula(file: Path) -> None:
    text = file.read_text("utf-8").splitlines(keepends=True)
    first, rest = text[1].split(",", 1)
    text[1] = f'"=HYPERLINK(""http://example.org"")",{rest}'
    assert first.isdigit()
    file.write_text("".join(text), "utf-8")


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (formula, "cell-formula"),
        (
            lambda file: pictures(file, lambda found: [(found[0][0], b"GIF89a no picture"), *found[1:]]),
            "portrait-unreadable",
        ),
        (
            lambda file: pictures(file, lambda found: [(found[0][0], found[0][1][:900]), *found[1:]]),
            "portrait-unreadable",
        ),
        (lambda file: pictures(file, lambda found: found[1:]), "portrait-missing"),
    ],
    ids=["formula", "no-image", "cut-image", "no-portrait"],
)
def test_a_row_that_cannot_be_made_refuses_the_delivery_and_is_named(
    centre: Centre, tmp_path: Path, delivery: Path, spoil: Callable[[Path], None], rule: str
) -> None:
    file = copy_of(delivery, tmp_path / "spoilt")
    spoil(file)
    found = attempt(centre, file)
    assert isinstance(found, Refusal)
    assert dict(found.verdict.rules) == {rule: 1}
    assert found.verdict.shown[0].row == 2
    assert nothing_left(centre)
    goes_on(centre, delivery)


def test_a_table_that_changes_while_it_is_worked_on_is_told_and_the_work_goes_on(
    centre: Centre, tmp_path: Path, delivery: Path
) -> None:
    """What is prepared is what the batch's hash stands for; a row was exchanged here for one that breaks no rule."""
    file = copy_of(delivery, tmp_path / "changing")
    before = file.read_bytes()

    def change(stage: str, done: int, total: int) -> None:
        if stage == "mark" and done == total:
            lines = before.decode().splitlines(keepends=True)
            file.write_bytes("".join([lines[0], lines[2], lines[1], *lines[3:]]).encode())

    assert told(centre, file, progress=change) == ("batch-file-changed", 3)
    file.write_bytes(before)
    assert told(centre, file, progress=lambda *_: file.unlink(missing_ok=True)) == ("batch-file-missing", 3)
    file.write_bytes(before)
    goes_on(centre, file)


class Held:
    """An archive in memory as `Readable`."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read(self, offset: int, length: int) -> bytes:
        return self._content[offset : offset + length]


def test_a_directory_that_was_changed_anywhere_is_read_or_refused_and_never_crashes() -> None:
    """Every byte of the directory and of a local header, and every cut."""
    content = pack_archive([(f"{number}.jpg", bytes([number]) * 40) for number in range(3)])
    sound, refused = 0, set[str]()
    changed = [
        content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]
        for at in range(len(content))
        for flip in (1, 0x80)
    ]
    for spoilt in [*changed, *(content[:cut] for cut in range(len(content)))]:
        try:
            directory = ZipDirectory(Held(spoilt), ArchiveLimits(), "a")
            for entry in directory.entries():
                sound += len(directory.read(entry)) == entry.unpacked
            for most in (1, 2, 3):
                assert pieced(directory, most) == list(directory.entries())
        except PersonalizationError as error:
            refused.add(error.code)
    assert sound
    assert "batch-archive-unreadable" in refused
    assert all(code.startswith("batch-archive-") for code in refused)


def pieced(directory: ZipDirectory, most: int) -> list[ZipEntry]:
    """The entries as several read them, each a piece of the directory."""
    pieces = list(directory.pieces(most))
    assert [piece.entries for piece in pieces[:-1]] == [most] * (len(pieces) - 1)
    return [entry for piece in pieces for entry in directory.entries(piece)]


def test_more_entries_than_the_old_form_can_count_are_read() -> None:
    """APPNOTE 4.3.14: zip64 from 65,535 entries on."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(65_540):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
    directory = ZipDirectory(Held(stream.getvalue()), ArchiveLimits(), "a")
    assert sum(1 for _ in directory.entries()) == directory.count == 65_540
    assert sum(piece.entries for piece in directory.pieces(4096)) == 65_540
    assert pieced(directory, 7000) == list(directory.entries())


# ------------------------------------------------------------ the disk


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A disk that takes no more of any file: what the kernel says then is real (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_the_work_goes_on(centre: Centre, delivery: Path) -> None:
    """Full at the index, the rows, the first sealed file, and in the last stage."""
    seen: set[str] = set()
    with Job.open(centre) as job:
        for size in (100, 5000, 10_000, 30_000, 45_000):
            with pytest.raises(PersonalizationError) as caught, largest_file(size):
                prepare(job, delivery, Staff(), chunk_rows=CHUNK, progress=silent)
            assert caught.value.exit_code == 3
            seen.add(caught.value.code)
    assert "disk-full" in seen
    assert seen <= {"disk-full", "directory-unwritable"}  # SQLite says of such a disk that it failed
    goes_on(centre, delivery)


# ------------------------------------------------------------ workers and keys


def test_a_worker_that_is_killed_is_told_and_the_work_goes_on(centre: Centre, delivery: Path) -> None:
    """Its limits are looked at first: a worker leaves no core dump."""
    killed: list[int] = []

    def kill(stage: str, done: int, total: int) -> None:
        if stage == "check" and 0 < done < total and not killed:
            for child in multiprocessing.active_children():
                assert child.pid is not None
                assert resource.prlimit(child.pid, resource.RLIMIT_CORE) == (0, 0)
                killed.append(child.pid)
                child.kill()

    assert told(centre, delivery, Staff(workers=1), progress=kill) == ("worker-lost", 3)
    assert killed
    assert multiprocessing.active_children() == []
    goes_on(centre, delivery)


@pytest.mark.parametrize("stage", ["prepare"])
def test_a_token_that_goes_away_between_chunks_is_told_and_the_work_goes_on(
    tmp_path: Path, delivery: Path, stage: str
) -> None:
    hsm = SoftHsm.make(tmp_path / "hsm")
    run = CommandLine(tmp_path, hsm.variables)
    run("keys", "init", "--hsm", "--centre", "centre")
    script = Path(__file__).with_name("preparation_hsm_gone.py")
    arguments = [sys.executable, str(script), "centre", str(delivery), str(hsm.tokens)]

    def prepared(gone_at: str) -> str:
        done = subprocess.run(
            [*arguments, gone_at],
            cwd=run.folder,
            env=run.environment(),
            check=True,
            capture_output=True,
            encoding="utf-8",
        )
        return done.stdout.strip()

    assert prepared(stage) in {"hsm-unavailable/3", "hsm-token-missing/3"}
    assert prepared("never") == f"{RESIDENTS} rows"


def test_what_travels_between_processes_names_nobody_and_holds_no_key(
    centre: Centre, delivery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything that the coordinator sends to its workers and gets from them."""
    passed: list[bytes] = []
    send, receive = Connection.send_bytes, Connection.recv_bytes

    def sending(self: Any, content: Any, *more: Any) -> None:
        passed.append(bytes(content))
        send(self, content, *more)

    def receiving(self: Any, *more: Any) -> bytes:
        passed.append(receive(self, *more))
        return passed[-1]

    def hearing(self: Any) -> Any:
        return pickle.loads(receiving(self))  # noqa: S301 - from our own workers

    monkeypatch.setattr(Connection, "send_bytes", sending)
    monkeypatch.setattr(Connection, "recv_bytes", receiving)
    monkeypatch.setattr(Connection, "recv", hearing)
    found = attempt(centre, delivery, Staff(workers=1))
    assert isinstance(found, Loaded)
    recorded = tmp_path / "passed"
    recorded.write_bytes(b"\n".join(passed))
    assert len([message for message in passed if b"Order" in message]) == 3 * RESIDENTS // CHUNK + RESIDENCE_CHUNKS
    secrets: dict[str, str | bytes] = {f"key {name.value}": value for name, value in GIVEN.items()}
    secrets["passphrase"] = centre.test_passphrase.read_bytes().strip()
    for row in rows_of(found.manifest, centre.key_store().open().of_batch(found.identifier), found.identifier):
        secrets |= personal(row.applicant)
    assert search([recorded], secrets) == []
