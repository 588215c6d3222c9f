"""Which certificate is an authority, which one a link, and which of them a signed document brings along."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from personalization.errors import PersonalizationError
from personalization.keys.authorities import authorities_of, is_authority, is_issued_by, is_link
from personalization.keys.ceremony import new_component, read_component, write_component
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName
from personalization.keys.signed_document import open_document, sign_document


@pytest.fixture
def store(tmp_path: Path) -> FileKeyStore:
    """A store whose authority was replaced once; the audit key is still the former one's."""
    return FileKeyStore.create(tmp_path / "keys.json", b"rehearsal", scrypt_n=16).with_new_pair(KeyName.AUTHORITY)


def loaded(*certificates: bytes) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(raw) for raw in certificates]


def test_a_link_is_an_authority_that_another_one_signed(store: FileKeyStore) -> None:
    """A signer is no link, though it did not sign itself either."""
    known = loaded(*store.certificates(KeyName.AUTHORITY))
    assert sorted(is_link(one) for one in known) == [False, False, True]
    assert all(is_authority(one) for one in known)
    (signer,) = loaded(store.certificate(KeyName.AUDIT))
    assert not is_authority(signer)
    assert not is_link(signer)


@pytest.mark.parametrize("renewed", [False, True], ids=["signer of before", "signer of the new authority"])
def test_a_document_brings_the_authority_itself_and_the_links_beside_it(store: FileKeyStore, renewed: bool) -> None:
    """A link certifies the same key as the new authority, but proves nothing to who has the authority alone."""
    keys = store.with_new_pair(KeyName.AUDIT) if renewed else store
    signature = sign_document({"kind": "x"}, keys)["signature"]
    assert isinstance(signature, dict)
    authority, signer = loaded(bytes.fromhex(signature["authority"]), bytes.fromhex(signature["certificate"]))
    assert not is_link(authority)
    assert is_issued_by(signer, authority)
    assert [is_link(one) for one in loaded(*map(bytes.fromhex, signature["links"]))] == [True]
    newest, former = (one for one in keys.certificates(KeyName.AUTHORITY) if not is_link(*loaded(one)))
    signed = sign_document({"kind": "x"}, keys)
    for trusted in (authorities_of(keys), newest if renewed else former, former):
        assert open_document(signed, "here", trusted) == {"kind": "x"}


def test_a_file_of_another_title_is_no_component(tmp_path: Path) -> None:
    path = tmp_path / "li"
    write_component(path, new_component(KeyName.CARD, "li"))
    path.write_text(path.read_text("utf-8").replace("permitcard key component", "permitcard key"), "utf-8")
    with pytest.raises(PersonalizationError, match="component-file-malformed") as caught:
        read_component(path)
    assert caught.value.exit_code == 2
