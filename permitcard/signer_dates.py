"""Cards are made on a day for which their signer is certified.

On any other day inspection refuses every card that is made, for a verifier would: a clock that was set back would spoil
blank after blank.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509

from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName, KeyStore


def present() -> dt.datetime:
    """What this machine's clock says."""
    return dt.datetime.now(dt.UTC)


def require_signer_of_today(keys: KeyStore) -> None:
    """Refuse to make cards while this machine's clock lies outside the document signer's certificate.

    Raises:
        PersonalizationError: "signer-not-of-today", exit 3.
    """
    certificate = x509.load_der_x509_certificate(keys.certificate(KeyName.DOCUMENT_SIGNER))
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    now = present()
    if not first <= now <= last:
        raise PersonalizationError(
            "signer-not-of-today", exit_code=3, today=now.date(), first=first.date(), last=last.date()
        )
