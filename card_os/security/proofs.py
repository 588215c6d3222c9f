"""Where a session keeps what it proved.

A proof that is given under secure messaging comes with that layer and ends with it: whoever breaks into the channel
afterwards, or opens another layer, does not inherit it. A proof that is given in plain lasts until deselection.

A handler runs under the layer of its session whenever there is one: the dispatcher ends a layer that a command does
not ask for.

Source: docs/decisions/0001-architecture-of-the-main-job.md, clause 1.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from card_os.applet_api import Session


def give_proof(session: Session, bits: int) -> None:
    """Add `Proof` bits to the layer of the running command, or to the session when it came in plain."""
    layer = session.secure_channel
    if layer is None:
        session.proofs |= bits
    else:
        layer.proofs |= bits


def take_proof(session: Session, bits: int) -> None:
    """Remove bits wherever they are; a plain number, for ``~`` of a `Proof` forgets bits without a name."""
    session.proofs &= ~bits
    layer = session.secure_channel
    if layer is not None:
        layer.proofs &= ~bits


def has_proof(session: Session, bits: int) -> bool:
    """True when all ``bits`` hold for the running command."""
    layer = session.secure_channel
    held = session.proofs if layer is None else session.proofs | layer.proofs
    return held & bits == bits
