"""Who sits at the keyboard: the operating system's user, or an operator who proves a key in an own PKCS#11 token."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from permitcard.system_accounts import system_user
from personalization.errors import PersonalizationError
from personalization.keys.passphrase import PassphraseSource
from personalization.production.operators import Operator, Roster

if TYPE_CHECKING:
    from permitcard.centre import Centre
    from personalization.keys.keystore import KeyStore
    from personalization.production.acts import Role

OPERATOR_VARIABLE: Final = "PERMITCARD_OPERATOR"
"""Name of an operator who proves a key; without it the operating system's user counts."""

MODULE_VARIABLE: Final = "PERMITCARD_OPERATOR_MODULE"
"""PKCS#11 library of the operator's token."""

TOKEN_VARIABLE: Final = "PERMITCARD_OPERATOR_TOKEN"  # noqa: S105 - a variable's name
"""Label of the operator's token."""

PIN_VARIABLE: Final = "PERMITCARD_OPERATOR_PIN"
"""PIN of the operator's token; with ``_FILE`` behind it, the path of a file that holds it."""


def open_store(centre: Centre, role: Role) -> KeyStore:
    """The key store of a centre, opened for an operator who is trusted with a role.

    Raises:
        PersonalizationError: "role-missing" (exit 2); as `operator_of`, and what the key store says.
    """
    keys = centre.key_store().open()
    try:
        operator_of(Roster.load(centre.operators, production=keys.production)).require(role)
    except BaseException:
        keys.close()
        raise
    return keys


def operator_of(roster: Roster) -> Operator:
    """The operator at work.

    Raises:
        PersonalizationError: "operator-unknown", "operator-not-proved", "operator-token-nowhere" (exit 2); exit 3: what
            the token says.
    """
    name = os.environ.get(OPERATOR_VARIABLE)
    if not name or roster.alone:
        return roster.of_user(system_user())
    operator = roster.named(name)
    module, token = os.environ.get(MODULE_VARIABLE), os.environ.get(TOKEN_VARIABLE)
    pin_file = os.environ.get(PIN_VARIABLE + "_FILE")
    if not module or not token or operator.public_key is None:
        raise PersonalizationError(
            "operator-token-nowhere", exit_code=2, module_variable=MODULE_VARIABLE, token_variable=TOKEN_VARIABLE
        )
    from personalization.keys.hsm.operator_token import prove
    from personalization.keys.hsm.token import TokenPlace

    source = PassphraseSource.file(Path(pin_file)) if pin_file else PassphraseSource.environment(PIN_VARIABLE)
    prove(TokenPlace(module, token), source.read(), operator.public_key, operator.name)
    return operator
