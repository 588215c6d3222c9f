"""A Secure Channel Protocol '03' session with a card, over any `CardConnection`.

Nothing a card says is believed before it has proved its keys, and no success without its response MAC. The keys are
checked against the card's cryptogram and challenge before EXTERNAL AUTHENTICATE, so that a wrong key of ours costs the
card no try.

Source: GlobalPlatform Amendment D v1.1.1, clauses 5.3 and 6.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable
from typing import Final, Self

from card_os.iso7816.apdu import MAX_SHORT_NC, CommandApdu, ResponseApdu
from card_os.iso7816.status import SW, StatusWord
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.commands import CardState, DataGrouping, StatusScope
from personalization.globalplatform.key_guard import KeyGuard
from personalization.globalplatform.registry import RegistryEntry, parse_entries
from personalization.globalplatform.scp03 import (
    CHALLENGE_LENGTH,
    FULL_PROTECTION,
    SECURITY_LEVELS,
    InitializeUpdateResponse,
    SecureMessaging,
    StaticKeys,
    card_cryptogram,
    derive_session_keys,
    host_cryptogram,
    max_command_data,
    parse_initialize_update,
    pseudo_random_challenge,
)
from reader_bridge.connection import CardConnection

KeySource = Callable[[InitializeUpdateResponse], StaticKeys]
"""Finds the keys of the card that answered; its diversification data is the card number."""

_MORE_AVAILABLE_SW1: Final = 0x61
_MAX_RESPONSE_ROUNDS: Final = 256
_MAX_STATUS_ROUNDS: Final = 256
_STATUS_LENGTH: Final = 2
_EXTENDED_NC: Final = 2303
"""Protected data bytes of a command in extended length: it takes a whole file grouping of 2,048 bytes of content, and
what it brings fits the commit buffer of a card in one transaction. A link that carries less gets short commands."""


class SecureSession:
    """An authenticated session; made by `open`, used up by the first response that is not authentic.

    Attributes:
        card: key diversification data of the card, 10 bytes; for our cards the card number.
        key_version: version of the key set that opened the session.
        max_data: the most plain data bytes of one command, in extended length where the link carries it.
    """

    __slots__ = ("_connection", "_dek", "_messaging", "_short_data", "_usable", "card", "key_version", "max_data")

    def __init__(
        self, connection: CardConnection, messaging: SecureMessaging, card: InitializeUpdateResponse, dek: bytes
    ) -> None:
        self._connection = connection
        self._messaging = messaging
        self._dek = dek
        self._usable = True
        self.card = card.diversification
        self.key_version = card.key_version
        self._short_data = max_command_data(messaging.level)
        extended = connection.description.max_command_data >= _EXTENDED_NC
        self.max_data = max_command_data(messaging.level, _EXTENDED_NC if extended else MAX_SHORT_NC)

    @classmethod
    def open(
        cls,
        connection: CardConnection,
        keys: StaticKeys | KeySource,
        *,
        aid: bytes | None = commands.ISSUER_DOMAIN_AID,
        key_version: int | None = None,
        level: int = FULL_PROTECTION,
        guard: KeyGuard | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Select a security domain and authenticate to it.

        Args:
            connection: a powered card.
            keys: the key set, or a function that finds it from the answer to INITIALIZE UPDATE.
            aid: security domain to select; None when the right one is selected already.
            key_version: version to ask for; by default that of ``keys``, or 00 (the card's own choice) for a function.
            level: security level of the session.
            guard: the run's guard, which refuses a second failure on one card.
            randomness: source of the host challenge.

        Raises:
            PersonalizationError: "card-refused" (select, INITIALIZE UPDATE), "key-set-blocked",
                "initialize-update-malformed", "secure-channel-unsupported", "key-version-mismatch",
                "security-level-unsupported", "authentication-stopped" (by the guard), "card-cryptogram-wrong" (the keys
                are not the card's, no try is spent), "external-authenticate-refused" (a try is spent).
            ReaderError: an exchange did not complete.
        """
        if level not in SECURITY_LEVELS:
            raise PersonalizationError("security-level-unsupported", exit_code=2, level=f"{level:02X}")
        if aid is not None:
            _plain(connection, commands.select(aid), "SELECT", accept=(SW.OK, SW.FILE_DEACTIVATED_WARNING))
        wanted = key_version if key_version is not None else keys.version if isinstance(keys, StaticKeys) else 0
        host_challenge = randomness(CHALLENGE_LENGTH)
        answer = _plain(connection, commands.initialize_update(wanted, host_challenge), "INITIALIZE UPDATE")
        card = parse_initialize_update(answer)
        if wanted and card.key_version != wanted:
            raise PersonalizationError("key-version-mismatch", wanted=wanted, offered=card.key_version)
        if not card.supports(level):
            raise PersonalizationError("security-level-unsupported", level=f"{level:02X}")
        if guard is not None:
            guard.check(card.diversification)
        static = keys if isinstance(keys, StaticKeys) else keys(card)
        session_keys = derive_session_keys(static, host_challenge, card.challenge)
        if not _is_authentic(card, static, card_cryptogram(session_keys, host_challenge, card.challenge), aid):
            _count(guard, card)
            raise PersonalizationError("card-cryptogram-wrong", card=card.diversification.hex().upper())
        messaging = SecureMessaging(session_keys, level)
        cryptogram = host_cryptogram(session_keys, host_challenge, card.challenge)
        response = _exchange(connection, messaging.external_authenticate(cryptogram))
        if response != SW.OK.encode():
            _count(guard, card)
            raise PersonalizationError(
                "external-authenticate-refused",
                card=card.diversification.hex().upper(),
                sw=str(StatusWord.parse(response)),
            )
        return cls(connection, messaging, card, static.dek)

    def transmit(self, command: CommandApdu, *, accept: Iterable[StatusWord] = (SW.OK,)) -> ResponseApdu:
        """Send one command under the session and return the verified plain response.

        Args:
            command: with a plain class byte; it goes in extended length when its data need that.
            accept: status words that are no failure.

        Raises:
            PersonalizationError: "card-refused" with the status word; "response-not-authentic", after which the session
                is over; "session-over".
            ReaderError: the exchange did not complete; the session is over.
            ValueError: the data is longer than `max_data`; nothing was sent.
        """
        if not self._usable:
            raise PersonalizationError("session-over")
        length = len(command.data)
        if length > self._short_data:
            if length > self.max_data:
                raise ValueError(f"{length} data bytes do not fit one command of this session")
            command = command._replace(extended=True)
        wrapped = self._messaging.wrap(command)
        self._usable = False
        response = self._messaging.unwrap(_exchange(self._connection, wrapped))
        self._usable = True
        if response.sw not in accept:
            raise _refused(f"INS {command.ins:02X}", command, response.sw)
        return response

    def put_keys(self, new: StaticKeys, *, replace: int) -> None:
        """PUT KEY of a set, and compare the check values that the card answers.

        Raises:
            PersonalizationError: "key-check-value-wrong": the card holds other keys than were meant.
        """
        answer = self.transmit(commands.put_key(new, self._dek, replace=replace)).data
        if not hmac.compare_digest(answer, commands.put_key_answer(new)):
            raise PersonalizationError("key-check-value-wrong", version=new.version)

    def install(
        self,
        *,
        package_aid: bytes,
        module_aid: bytes,
        instance_aid: bytes,
        privileges: bytes = b"\x00",
        parameters: bytes = b"",
        selectable: bool = True,
    ) -> None:
        """INSTALL [for install], with [make selectable] unless told otherwise; see `commands.install`."""
        self.transmit(
            commands.install(
                package_aid=package_aid,
                module_aid=module_aid,
                instance_aid=instance_aid,
                privileges=privileges,
                parameters=parameters,
                selectable=selectable,
            )
        )

    def personalize(self, instance_aid: bytes, groupings: Iterable[DataGrouping]) -> int:
        """INSTALL [for personalization] and STORE DATA of all groupings; returns the number of STORE DATA commands."""
        blocks = commands.store_data(groupings, dek=self._dek, max_data=self.max_data)
        self.transmit(commands.install_for_personalization(instance_aid))
        for block in blocks:
            self.transmit(block)
        return len(blocks)

    def set_card_state(self, state: CardState) -> None:
        """SET STATUS of the card."""
        self.transmit(commands.set_card_state(state))

    def set_application_state(self, aid: bytes, state: int) -> None:
        """SET STATUS of an application."""
        self.transmit(commands.set_application_state(aid, state))

    def delete(self, aid: bytes, *, related: bool = False) -> None:
        """DELETE an application."""
        self.transmit(commands.delete(aid, related=related))

    def get_status(self, scope: StatusScope, aid: bytes = b"") -> list[RegistryEntry]:
        """GET STATUS until the card has no more to tell; empty when nothing matches.

        Raises:
            PersonalizationError: "registry-malformed": also when the card never comes to an end.
        """
        accept = (SW.OK, SW.MORE_DATA_FOLLOWS, SW.REFERENCE_DATA_NOT_FOUND)
        data = b""
        for round_number in range(_MAX_STATUS_ROUNDS):
            command = commands.get_status(scope, aid, following=bool(round_number))
            response = self.transmit(command, accept=accept)
            data += response.data
            if response.sw != SW.MORE_DATA_FOLLOWS:
                return parse_entries(data)
        raise PersonalizationError("registry-malformed", reason="the answer does not end")


def _is_authentic(card: InitializeUpdateResponse, keys: StaticKeys, cryptogram: bytes, aid: bytes | None) -> bool:
    """Compare the card's cryptogram, and its challenge where that is derived, which proves Key-ENC too."""
    genuine = hmac.compare_digest(card.cryptogram, cryptogram)
    if card.pseudo_random and aid is not None:
        expected = pseudo_random_challenge(keys, card.sequence, aid)
        genuine &= hmac.compare_digest(card.challenge, expected)
    return genuine


def _count(guard: KeyGuard | None, card: InitializeUpdateResponse) -> None:
    if guard is not None:
        guard.failed(card.diversification)


def _plain(
    connection: CardConnection, command: CommandApdu, name: str, *, accept: tuple[StatusWord, ...] = (SW.OK,)
) -> bytes:
    """Send a command that comes before the session; returns its response data (6283: selected on a locked card)."""
    response = ResponseApdu.parse(_exchange(connection, command.encode()))
    if response.sw == SW.METHOD_BLOCKED:
        raise PersonalizationError("key-set-blocked", command=name)
    if response.sw not in accept:
        raise _refused(name, command, response.sw)
    return response.data


def _refused(name: str, command: CommandApdu, status: StatusWord) -> PersonalizationError:
    return PersonalizationError(
        "card-refused", command=name, ins=f"{command.ins:02X}", sw=str(status), meaning=status.text
    )


def _exchange(connection: CardConnection, command: bytes) -> bytes:
    """Send one command and fetch what the card offers by 61xx."""
    response = connection.transmit(command)
    collected = b""
    for _ in range(_MAX_RESPONSE_ROUNDS):
        if len(response) < _STATUS_LENGTH:
            raise PersonalizationError("response-not-authentic", reason="no status word")
        if response[-2] != _MORE_AVAILABLE_SW1:
            return collected + response if collected else response
        collected += response[:-2]
        response = connection.transmit(bytes((0x00, 0xC0, 0x00, 0x00, response[-1])))
    raise PersonalizationError("response-not-authentic", reason="the response does not end")
