"""An operator's own PKCS#11 token: it signs a challenge, and the roster's public key verifies it.

The key pair on P-256 is labelled ``permitcard.operator``; the token may be any smart card or USB key with a PKCS#11
library.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Mechanism, ObjectClass

from personalization.errors import PersonalizationError
from personalization.keys.hsm.token import TokenPlace, logged_in

OPERATOR_LABEL: Final = "permitcard.operator"
_CHALLENGE: Final = 32
_HALF: Final = 32
_CONTEXT: Final = b"permitcard operator login\x00"


def prove(place: TokenPlace, pin: bytes, public_key: bytes, operator: str) -> None:
    """Have the token sign a fresh challenge, and compare with the operator's key.

    Args:
        place: the operator's token.
        pin: the operator's PIN.
        public_key: SubjectPublicKeyInfo, DER.
        operator: name, for the error.

    Raises:
        PersonalizationError: "operator-not-proved" (exit 2); exit 3: what the token says.
    """
    digest = hashlib.sha256(_CONTEXT + os.urandom(_CHALLENGE)).digest()
    with logged_in(place, pin) as session:
        key: Any = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=OPERATOR_LABEL)
        raw = bytes(key.sign(digest, mechanism=Mechanism.ECDSA))
    der = encode_dss_signature(int.from_bytes(raw[:_HALF], "big"), int.from_bytes(raw[_HALF:], "big"))
    try:
        loaded = load_der_public_key(public_key)
        if not isinstance(loaded, ec.EllipticCurvePublicKey):
            raise _not_proved(operator)
        loaded.verify(der, digest, ec.ECDSA(Prehashed(SHA256())))
    except (InvalidSignature, ValueError):
        raise _not_proved(operator) from None


def _not_proved(operator: str) -> PersonalizationError:
    return PersonalizationError("operator-not-proved", exit_code=2, operator=operator)
