"""A process that uses a token while it is taken away and brought back; prints what it is told."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from personalization.errors import PersonalizationError
from personalization.keys.hsm.making import Maker, create_hsm_store
from personalization.keys.hsm.store import HsmKeyStore
from personalization.keys.hsm.token import TokenPlace
from personalization.keys.keystore import KeyName
from personalization.keys.passphrase import PassphraseSource
from tests.doubles.softhsm import LABEL, USER_PIN

PIN = PassphraseSource.environment("PERMITCARD_PKCS11_PIN")


def told(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except PersonalizationError as error:
        return f"{error.code}/{error.exit_code}"
    return "done"


def say(word: str) -> None:
    sys.stdout.write(word + "\n")


def watch(tokens: Path, module: str) -> None:
    place = TokenPlace(module, LABEL)
    create_hsm_store(Maker(place, PIN, PassphraseSource.environment("PERMITCARD_PKCS11_SO_PIN")), production=False)
    store = HsmKeyStore.open(place, USER_PIN.encode())
    sealed = store.seal(KeyName.TRANSPORT, b"content", b"")
    away = tokens.with_name("away")
    tokens.rename(away)
    say(told(lambda: store.derive(KeyName.CARD, "ROLE", b"", 16)))
    say(told(lambda: store.unseal(KeyName.TRANSPORT, sealed, b"")))
    say(told(lambda: store.sign_digest(KeyName.DOCUMENT_SIGNER, bytes(32))))
    store.close()
    say(told(lambda: HsmKeyStore.open(place, USER_PIN.encode())))
    away.rename(tokens)
    say("again")
