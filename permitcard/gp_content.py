"""Loading, installing and storing, as ``permitcard gp`` does it through an open session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from permitcard.gp_access import aid_of, hexadecimal
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import install_for_personalization
from personalization.globalplatform.content import install_for_load, privileges_of
from personalization.globalplatform.load_file import LoadFile, encode_load_file, load_commands
from personalization.globalplatform.session import SecureSession
from personalization.globalplatform.store_data import DataGrouping, Padding, StoreDataFlag, store_data, store_objects
from personalization.preparation.dgi import parse_groupings

_HASHES: Final = ("sha1", "sha256", "sha384", "sha512")
_NO_HASH: Final = "none"


@dataclass(frozen=True, slots=True)
class Installation:
    """What INSTALL shall make.

    Attributes:
        package: AID of the package.
        module: AID of the module in it.
        instance: AID of the application.
        privileges: three bytes.
        parameters: application specific parameters.
    """

    package: bytes
    module: bytes
    instance: bytes
    privileges: bytes
    parameters: bytes

    @classmethod
    def of(
        cls,
        loaded: LoadFile | None,
        package: str | None,
        module: str | None,
        instance: str | None,
        privileges: Sequence[str],
        parameters: bytes,
    ) -> Self:
        """Settle what the user left open, from the load file where there is one.

        Raises:
            PersonalizationError: exit 2: "gp-package-missing", "gp-module-missing", "gp-privilege-unknown",
                "gp-aid-malformed", "gp-hex-malformed".
        """
        if loaded is None and package is None:
            raise PersonalizationError("gp-package-missing", exit_code=2)
        package_aid = loaded.aid if loaded is not None else aid_of(package or "")
        applets = () if loaded is None else loaded.applets
        if module is not None:
            module_aid: bytes = aid_of(module)
        elif len(applets) == 1:
            module_aid = applets[0]
        else:
            known = ", ".join(applet.hex().upper() for applet in applets) or "-"
            raise PersonalizationError("gp-module-missing", exit_code=2, known=known)
        try:
            value = privileges_of(privileges)
        except ValueError as error:
            raise PersonalizationError("gp-privilege-unknown", exit_code=2, privilege=str(error)) from error
        return cls(package_aid, module_aid, module_aid if instance is None else aid_of(instance), value, parameters)


def load_package(
    session: SecureSession,
    package: LoadFile,
    *,
    domain: bytes = b"",
    digest: str = "sha256",
    combined: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """INSTALL [for load] and all LOAD commands; returns their number.

    With ``combined`` the load file is there only after `install_application` with the same.

    Raises:
        PersonalizationError: "gp-hash-unknown", exit 2; "too-many-blocks"; as `SecureSession.transmit`.
    """
    if digest not in (*_HASHES, _NO_HASH):
        raise PersonalizationError("gp-hash-unknown", exit_code=2, algorithm=digest)
    blocks = load_commands(encode_load_file(package.data_block), session.max_data)
    hashed = b"" if digest == _NO_HASH else package.digest(digest)
    session.transmit_chained(install_for_load(package.aid, domain_aid=domain, digest=hashed, combined=combined))
    for number, block in enumerate(blocks, start=1):
        session.transmit(block)
        if progress is not None:
            progress(number, len(blocks))
    return len(blocks)


def install_application(session: SecureSession, wanted: Installation, *, combined: bool = False) -> None:
    """INSTALL [for install and make selectable], or the end of [for load, install and make selectable]."""
    session.install(
        package_aid=wanted.package,
        module_aid=wanted.module,
        instance_aid=wanted.instance,
        privileges=wanted.privileges,
        parameters=wanted.parameters,
        combined=combined,
    )


def read_data(text: str) -> bytes:
    """Hexadecimal, or ``@FILE`` with it.

    Raises:
        PersonalizationError: "gp-hex-malformed", exit 2, without what was read.
        OSError: the file cannot be read.
    """
    if not text.startswith("@"):
        return hexadecimal(text, "data")
    told = Path(text[1:]).read_text("ascii", errors="replace")
    try:
        return bytes.fromhex(told)
    except ValueError as error:
        raise PersonalizationError("gp-hex-malformed", exit_code=2, what="data", text=text) from error


def store_content(
    session: SecureSession,
    raw: bytes,
    *,
    application: bytes | None,
    form: str,
    encrypted: Sequence[str],
    padding: str,
) -> int:
    """STORE DATA to the domain, or after INSTALL [for personalization] to an application; returns how many commands.

    Args:
        session: an open session.
        raw: concatenated DGIs, data objects, or free data.
        application: AID of the application, None for the domain itself.
        form: dgi, tlv or free.
        encrypted: identifiers of DGIs that travel encrypted, hexadecimal.
        padding: always, needed or none.

    Raises:
        PersonalizationError: "gp-form-unknown", "gp-padding-unknown", "gp-hex-malformed", exit 2; "grouping-malformed";
            as `SecureSession.transmit`.
    """
    known = next((item for item in Padding if item.value == padding), None)
    if known is None:
        raise PersonalizationError("gp-padding-unknown", exit_code=2, padding=padding)
    secret = {int.from_bytes(hexadecimal(item, "DGI"), "big") for item in encrypted}
    if form == "dgi":
        groupings = [
            DataGrouping(item.identifier, item.value, item.identifier in secret) for item in parse_groupings(raw)
        ]
        blocks = store_data(groupings, dek=session.data_key, max_data=session.max_data, padding=known)
    elif form in ("tlv", "free"):
        flags = StoreDataFlag.BER_TLV if form == "tlv" else 0
        blocks = store_objects(raw, max_data=session.max_data, flags=flags)
    else:
        raise PersonalizationError("gp-form-unknown", exit_code=2, form=form)
    if application is not None:
        session.transmit(install_for_personalization(application))
    for block in blocks:
        session.transmit(block)
    return len(blocks)
