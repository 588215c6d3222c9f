"""INSTALL [for load] and LOAD: code comes to the card.

The load file data block goes into memory as it comes, under a registry entry in the state LOADING; the last block
verifies hash, DAPs and names and makes it LOADED. Whatever fails ends the loading and gives its memory back; what a cut
leaves is taken back at boot. One load file is loaded at a time: another INSTALL [for load] ends the one before.
`combined_installation` ends what it began in another way.

Source: GlobalPlatform Card Specification 2.3.1, clauses 9.3.5 (loading process), 11.6 (LOAD), C.2, C.3 and C.6.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from card_os.globalplatform.authority import Permission, accepting_domain, is_operational, permit
from card_os.globalplatform.cap_file import LoadFileContent, read_load_file
from card_os.globalplatform.domain_session import content_management_channel, domain_session
from card_os.globalplatform.install_fields import InstallParameters, InstallPurpose, LoadFields, token_of
from card_os.globalplatform.management_keys import KeyPurpose, cipher_of, digest_length, find_management_key, verifies
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import Application, LoadFile, LoadFileLifeCycle, Registry, Restriction
from card_os.globalplatform.tokens import confirmation
from card_os.iso7816 import tlv
from card_os.iso7816.aid import Aid
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    DfNameExists,
    IncorrectP1P2,
    NotEnoughMemory,
    SecurityStatusNotSatisfied,
    WrongData,
)
from card_os.security.block_ciphers import BlockCipher, cbc_decrypt
from card_os.security.cryptography import equal, unpad
from card_os.storage.layout import MAX_TRANSACTION_DATA
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.globalplatform.key_types import DomainKey
    from card_os.iso7816.apdu import CommandApdu
    from card_os.storage.store import ObjectStore, StoredObject

CONTENT: Final = 1
"""Identifier of the object of kind PACKAGE that holds a load file data block."""
MAX_HEAD: Final = 2_048
"""The most bytes before the load file data block, DAP blocks that is."""

_NO_DATA: Final = b"\x00"
_LAST_BLOCK: Final = 0x80
_BLOCK_NUMBERS: Final = 0x100
_TAG_DAP: Final = 0xE2
_TAG_DOMAIN: Final = 0x4F
_TAG_SIGNATURE: Final = 0xC3
_TAG_BLOCK: Final = 0xC4
_TAG_ICV: Final = 0xD3
_TAG_CIPHERED: Final = 0xD4
_DIGESTS: Final[Mapping[int, str]] = {20: "sha1", 32: "sha256", 48: "sha384", 64: "sha512"}


class DapBlock(NamedTuple):
    """A signature over the hash of the load file data block, and who verifies it."""

    domain: bytes
    signature: bytes


class Decipherment(NamedTuple):
    """How a ciphered load file is read."""

    cipher: BlockCipher
    key: bytes
    icv: bytes

    def __repr__(self) -> str:
        """The cipher only."""
        return f"Decipherment({self.cipher.title})"


class Loading:
    """A load file on its way.

    Attributes:
        permission: by whose right it comes.
        file: its entry, in the state LOADING.
        domain: the domain that it will be associated with.
        digest: hash that was told before, empty when none was.
        next_block: number that the next LOAD has to carry.
        head: bytes before the data block, until all of them are here.
        daps: DAP blocks.
        content: where the data block goes, None until its length is known.
        filled: bytes of the data block that are here.
        decipherment: how it is read, None when it comes in plain.
        rest: bytes of a cipher block that is not whole yet.
        request: what the first command of a combined process gives to its token to sign, empty when an INSTALL
            [for load] began it.
        verified: the last block of a combined process came and everything was right.
    """

    __slots__ = (
        "content",
        "daps",
        "decipherment",
        "digest",
        "domain",
        "file",
        "filled",
        "head",
        "next_block",
        "permission",
        "request",
        "rest",
        "verified",
    )

    def __init__(
        self, permission: Permission, file: LoadFile, domain: Application, digest: bytes, request: bytes
    ) -> None:
        self.permission = permission
        self.file = file
        self.domain = domain
        self.digest = digest
        self.next_block = 0
        self.head = b""
        self.daps: list[DapBlock] = []
        self.content: StoredObject | None = None
        self.filled = 0
        self.decipherment: Decipherment | None = None
        self.rest = b""
        self.request = request
        self.verified = False


def begin_load(context: Context, command: CommandApdu) -> bytes:
    """INSTALL [for load]: name, domain, hash and memory of a load file that follows.

    Raises:
        WrongData: 6A80, malformed, no such domain, or no hash where one is needed.
        DfNameExists: 6A8A, the AID is taken.
        ConditionsNotSatisfied: 6985, the domain may not load, or the other one does not take it.
        NotEnoughMemory: 6A84, less is free than the load parameters ask for.
    """
    fields = LoadFields.parse(command.data)
    parameters = InstallParameters.parse(fields.parameters, InstallPurpose.LOAD)
    permission = permit(context, Restriction.LOAD, token_of(command, fields, parameters))
    expect_load_file(context, permission, fields, parameters)
    return _NO_DATA


def expect_load_file(
    context: Context, permission: Permission, fields: LoadFields, parameters: InstallParameters, request: bytes = b""
) -> None:
    """Make the entry of a load file whose blocks follow; one that was expected before is given up.

    Args:
        context: the domain's context.
        permission: by whose right it comes.
        fields: what is told of it.
        parameters: what the parameters among them say.
        request: see `Loading`.

    Raises:
        WrongData, DfNameExists, ConditionsNotSatisfied, NotEnoughMemory: as `begin_load`.
    """
    platform = domain_session(context).platform
    platform.registry.recover()
    if fields.digest and len(fields.digest) not in _DIGESTS:
        raise WrongData("no hash has this length")
    if permission.delegated and not fields.digest:
        raise WrongData("a token needs the hash of the load file")
    try:
        aid = Aid(fields.file_aid)
    except ValueError as error:
        raise WrongData(str(error)) from error
    registry = platform.registry
    if registry.by_aid(aid) is not None or registry.load_file(aid) is not None:
        raise DfNameExists("an application or a load file has this AID")
    domain = accepting_domain(registry, fields.domain_aid) if fields.domain_aid else permission.domain
    needed = parameters.code_minimum + (parameters.memory.quota or 0)
    if needed > context.store.free_in_all - context.store.grants.outstanding(context.store.used_by):
        raise NotEnoughMemory(f"{needed} bytes are not free")
    file = LoadFile(0, aid, domain.owner, LoadFileLifeCycle.LOADING, provider=parameters.provider)
    entry = registry.add_load_file(file)
    domain_session(context).loading = Loading(permission, entry, domain, fields.digest, request)


def load(context: Context, command: CommandApdu) -> bytes:
    """LOAD: the next block of the load file; P1 80 the last one, P2 its number, beginning with 00.

    Returns:
        Length of a confirmation, and the confirmation when the last block of a delegated loading came.

    In a combined process the last block is verified, and the load file stays in the state LOADING until the INSTALL
    that ends the process.

    Raises:
        ConditionsNotSatisfied: 6985, no INSTALL [for load] before, a DAP is missing, or its verifier is.
        IncorrectP1P2: 6A86, another bit of P1, or a block out of turn.
        WrongData: 6A80, not the structure of a load file, wrong hash, or names that differ from those told before.
        SecurityStatusNotSatisfied: 6982, a DAP is wrong.
        NotEnoughMemory: 6A84.
    """
    content_management_channel(context)
    state = domain_session(context)
    loading, registry = state.loading, state.platform.registry
    if loading is None or registry.load_file(loading.file.aid) is not loading.file or loading.verified:
        raise ConditionsNotSatisfied("no INSTALL [for load] before")
    state.loading = None
    try:
        with _at_once(context.store, command):
            _take(context.store, registry, loading, command)
            answer = _finish(state.platform, loading) if command.p1 & _LAST_BLOCK else _NO_DATA
    except Exception:
        registry.reload()
        registry.recover()
        raise
    loading.next_block = (loading.next_block + 1) % _BLOCK_NUMBERS
    if loading.request or not command.p1 & _LAST_BLOCK:
        state.loading = loading
    return answer


def _at_once(store: ObjectStore, command: CommandApdu) -> AbstractContextManager[None]:
    """One transaction for the whole command, unless it brings more than one takes."""
    return store.transaction() if len(command.data) <= MAX_TRANSACTION_DATA else nullcontext()


def _take(store: ObjectStore, registry: Registry, loading: Loading, command: CommandApdu) -> None:
    """Bytes of the load file: its head until the data block begins, then the data block."""
    if command.p1 & ~_LAST_BLOCK or command.p2 != loading.next_block:
        raise IncorrectP1P2("a block out of turn")
    data = command.data
    if loading.content is None:
        loading.head += data
        data = _read_head(store, registry, loading)
    if loading.decipherment is not None:
        data = _decipher(loading, loading.decipherment, data)
    item = loading.content
    if item is None:
        return
    if loading.filled + len(loading.rest) + len(data) > item.size:
        raise WrongData("more than the load file data block")
    for start in range(0, len(data), MAX_TRANSACTION_DATA):
        part = data[start : start + MAX_TRANSACTION_DATA]
        store.change(item, loading.filled, part)
        loading.filled += len(part)


def _read_head(store: ObjectStore, registry: Registry, loading: Loading) -> bytes:
    """Take the objects before the data block, and make room for it; returns what of the data block is here."""
    while loading.head:
        try:
            tag, offset = tlv.parse_tag(loading.head, 0)
            length, offset = tlv.parse_length(loading.head, offset)
        except tlv.TlvError:
            break
        if tag in (_TAG_BLOCK, _TAG_CIPHERED):
            return _begin_block(store, registry, loading, tag, length, loading.head[offset:])
        if len(loading.head) < offset + length:
            break
        _take_object(loading, tag, loading.head[offset : offset + length])
        loading.head = loading.head[offset + length :]
    if len(loading.head) > MAX_HEAD:
        raise WrongData("too much before the load file data block")
    return b""


def _take_object(loading: Loading, tag: int, value: bytes) -> None:
    if tag == _TAG_ICV:
        loading.rest = value
        return
    try:
        values = {item.tag: item.value for item in tlv.parse_all(value)}
    except tlv.TlvError as error:
        raise WrongData("a DAP block is malformed") from error
    if tag != _TAG_DAP or set(values) != {_TAG_DOMAIN, _TAG_SIGNATURE}:
        raise WrongData("neither a DAP block nor a load file data block")
    loading.daps.append(DapBlock(values[_TAG_DOMAIN], values[_TAG_SIGNATURE]))


def _begin_block(store: ObjectStore, registry: Registry, loading: Loading, tag: int, length: int, data: bytes) -> bytes:
    """Ask for the DAPs that have to be there, and take memory for the whole block at once."""
    ciphered = bool(loading.domain.privileges & Privilege.CIPHERED_LOAD_FILE)
    if (tag == _TAG_CIPHERED) is not ciphered or (loading.rest and not ciphered):
        raise WrongData("a load file is ciphered for a domain that demands it, and for no other")
    _require_daps(registry, loading)
    if (loading.daps or ciphered) and not loading.digest:
        raise WrongData("the hash of the load file was not told before")
    if ciphered:
        loading.decipherment = _decipherment(store, loading, length)
    loading.content = store.create(loading.file.number, ObjectKind.PACKAGE, CONTENT, length)
    loading.head = loading.rest = b""
    return data


def _require_daps(registry: Registry, loading: Loading) -> None:
    """A DAP of every domain that mandates one, and of the associated domain if it verifies DAPs (9.3.5)."""
    given = {dap.domain for dap in loading.daps}
    for domain in registry:
        mandated = domain.privileges & Privilege.MANDATED_DAP and is_operational(domain)
        own = domain is loading.domain and domain.privileges & Privilege.DAP_VERIFICATION
        if (mandated or own) and domain.aid not in given:
            raise ConditionsNotSatisfied("a DAP that has to be there is not")


def _decipherment(store: ObjectStore, loading: Loading, length: int) -> Decipherment:
    key = find_management_key(store, loading.domain.owner, KeyPurpose.LOAD_FILE)
    if key is None:
        raise ConditionsNotSatisfied("the domain has no key for ciphered load files")
    cipher = cipher_of(key)
    if length % cipher.block or (loading.rest and len(loading.rest) != cipher.block):
        raise WrongData("a ciphered load file has whole blocks")
    if len(loading.digest) < digest_length(key):
        raise WrongData("the hash is too short for this key")
    return Decipherment(cipher, key.value, loading.rest or bytes(cipher.block))


def _decipher(loading: Loading, decipherment: Decipherment, data: bytes) -> bytes:
    """The whole cipher blocks that are here; the rest waits for the next command."""
    data = loading.rest + data
    whole = len(data) - len(data) % decipherment.cipher.block
    loading.rest = data[whole:]
    if not whole:
        return b""
    blocks = data[:whole]
    loading.decipherment = decipherment._replace(icv=blocks[-decipherment.cipher.block :])
    return cbc_decrypt(decipherment.cipher, decipherment.key, blocks, decipherment.icv)


def _finish(platform: Platform, loading: Loading) -> bytes:
    """After the last block: hash, DAPs, names; then the load file is there."""
    store, registry, item, file = platform.store, platform.registry, loading.content, loading.file
    if item is None or loading.filled != item.size:
        raise WrongData("the load file data block is cut short")
    block = store.read(item)
    if loading.decipherment is not None:
        try:
            block = unpad(block)
        except ValueError as error:
            raise WrongData("the ciphered load file is malformed") from error
    _verify(store, registry, loading, block)
    content = _names(file, block)
    file.version, file.modules, file.size = content.version, content.modules, len(block)
    file.digest = loading.digest or hashlib.sha256(block).digest()
    if loading.request:
        loading.verified = True
        registry.update(file)
        return _NO_DATA
    file.life_cycle = LoadFileLifeCycle.LOADED
    with store.transaction():
        registry.update(file)
        return confirmation(registry, store, loading.permission, file.aid, loading.domain.aid)


def _verify(store: ObjectStore, registry: Registry, loading: Loading, block: bytes) -> None:
    digest = loading.digest
    if digest and not equal(hashlib.new(_DIGESTS[len(digest)], block).digest(), digest):
        raise WrongData("the hash of the load file is wrong")
    for dap in loading.daps:
        key = _dap_key(store, registry, dap)
        if len(digest) < digest_length(key):
            raise WrongData("the hash is too short for the key of a DAP")
        if not verifies(key, digest, dap.signature):
            raise SecurityStatusNotSatisfied("a DAP is wrong")


def _dap_key(store: ObjectStore, registry: Registry, dap: DapBlock) -> DomainKey:
    domain = registry.by_aid(dap.domain)
    if domain is None or domain.locked or not domain.privileges & Privilege.DAP_VERIFICATION:
        raise ConditionsNotSatisfied("a DAP for a domain that verifies none")
    key = find_management_key(store, domain.owner, KeyPurpose.DAP)
    if key is None:
        raise ConditionsNotSatisfied("a domain that verifies DAPs has no key for it")
    return key


def _names(file: LoadFile, block: bytes) -> LoadFileContent:
    try:
        content = read_load_file(block)
    except ValueError as error:
        raise WrongData(f"no load file: {error}") from error
    if content.aid != file.aid:
        raise WrongData("the load file has another AID than was told")
    return content
