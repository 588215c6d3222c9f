"""What keys in a token cost beside keys in the file store, and what that leaves for cards and rows a second.

SoftHSM2 is a token without a wire: a network HSM adds its round trip to each operation that is counted here.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.turns import best
from permitcard.products import permit_profile
from personalization.keys.file_store import FileKeyStore
from personalization.keys.keystore import KeyName, KeyStore
from personalization.keys.passphrase import PassphraseSource
from personalization.preparation.card_keys import CardKeys, issuer_domain_keys
from tests.doubles.softhsm import LABEL, MODULES, USER_PIN, SoftHsm

CARD_NUMBER = bytes.fromhex("4A5A0001000100000007")

Row = tuple[str, float, float]


def of_a_card(keys: KeyStore) -> Callable[[], object]:
    """All keys of one permit: both key sets of the issuer domain, roles and concealment."""
    card = CardKeys(permit_profile(), keys)

    def derive() -> None:
        issuer_domain_keys(keys, KeyName.FACTORY, CARD_NUMBER)
        issuer_domain_keys(keys, KeyName.CARD, CARD_NUMBER)
        card.key_grouping(CARD_NUMBER)

    return derive


def of_a_row(keys: KeyStore) -> Callable[[], object]:
    """What preparation of one row asks of the store: two recognition values and a signature."""
    digest = bytes(32)

    def ask() -> None:
        keys.recognise(b"330381203000000001")
        keys.recognise(b"33038119900721124X")
        keys.sign_digest(KeyName.DOCUMENT_SIGNER, digest)

    return ask


def operations(keys: KeyStore) -> dict[str, tuple[Callable[[], object], int]]:
    """What is measured, and how often."""
    sealed = keys.seal(KeyName.TRANSPORT, bytes(4096), b"row")
    return {
        "derive 16 bytes": (lambda: keys.derive(KeyName.CARD, "ROLE", CARD_NUMBER, 16), 200),
        "sign a digest": (lambda: keys.sign_digest(KeyName.DOCUMENT_SIGNER, bytes(32)), 100),
        "recognise a number": (lambda: keys.recognise(b"330381203000000001"), 200),
        "seal 4 KB": (lambda: keys.seal(KeyName.TRANSPORT, bytes(4096), b"row"), 200),
        "unseal 4 KB": (lambda: keys.unseal(KeyName.TRANSPORT, sealed, b"row"), 200),
        "all keys of a card": (of_a_card(keys), 20),
        "what a row asks": (of_a_row(keys), 50),
    }


def run() -> list[Row]:
    """Rows for `benchmarks.run`: the token beside the file store; none where SoftHSM2 is not installed."""
    if not any(Path(module).exists() for module in MODULES):
        print("  SoftHSM2 is not installed")
        return []
    from personalization.keys.hsm.making import Maker, create_hsm_store
    from personalization.keys.hsm.store import HsmKeyStore
    from personalization.keys.hsm.token import TokenPlace

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        softhsm = SoftHsm.make(folder / "hsm")
        os.environ |= softhsm.variables
        place = TokenPlace(softhsm.module, LABEL)
        pins = (PassphraseSource.environment(f"PERMITCARD_PKCS11_{pin}") for pin in ("PIN", "SO_PIN"))
        create_hsm_store(Maker(place, *pins), production=False)
        token = HsmKeyStore.open(place, USER_PIN.encode())
        file = FileKeyStore.create(folder / "keys.json", os.urandom(16).hex().encode(), scrypt_n=1024)
        try:
            ours, floors = operations(token), operations(file)
            rows = [(label, best(*ours[label]), best(*floors[label])) for label in ours]
        finally:
            token.close()
    times = {label: (own, floor) for label, own, floor in rows}
    for label, what in (("all keys of a card", "cards"), ("what a row asks", "rows")):
        own, floor = (1e6 / spent for spent in times[label])
        print(
            f"  at most {own:,.0f} {what} a second and session for {label} in the token, {floor:,.0f} in the file store"
        )
    return rows


if __name__ == "__main__":
    for label, ours, least in run():
        print(f"  {label:<56} {ours:>8.1f} µs {least:>8.1f} µs {ours / least:>6.1f} ×")
