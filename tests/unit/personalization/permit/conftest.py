"""Signers of the province and of somebody else."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.permit.electronic.claims import ElectronicPermit
from personalization.permit.electronic.signed_message import TrustedSigners

NOW = dt.datetime(2026, 3, 2, 1, 30, tzinfo=dt.UTC)


def store_in(folder: Path) -> FileKeyStore:
    return FileKeyStore.create(folder / "keys.json", b"a passphrase", now=NOW - dt.timedelta(days=2), scrypt_n=1 << 10)


def signers_of(store: FileKeyStore, now: dt.datetime = NOW) -> TrustedSigners:
    return TrustedSigners(store.certificate(KeyName.AUTHORITY), [store.certificate(KeyName.DOCUMENT_SIGNER)], now)


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    return store_in(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> FileKeyStore:
    """The office of another province, with keys of its own."""
    return store_in(tmp_path_factory.mktemp("stranger"))


@pytest.fixture
def permit() -> ElectronicPermit:
    return example_permit()


def example_permit() -> ElectronicPermit:
    return ElectronicPermit(
        identifier=bytes(range(16)),
        issued_at=NOW,
        area="330381",
        permit_number="330381300000000001",
        name="欧阳𠮷𬱖·热依汗",
        sex="1",
        ethnic_group="05",
        birth_date=dt.date(1988, 4, 12),
        citizen_number="330381198804120011",
        registered_address="四川省南充市顺庆区" + "长" * 60,
        current_address="浙江省瑞安市仙降街道",
        issuing_authority="瑞安市公安局",
        issue_date=dt.date(2026, 1, 1),
        endorsement_due=dt.date(2027, 1, 1),
        portrait_hash=bytes(32),
    )
