"""A secure channel session with a card, SCP03 or SCP02, over any `CardConnection`.

Nothing a card says is believed before it has proved its keys, and no success without its response MAC. The keys are
checked against the card's cryptogram and challenge before EXTERNAL AUTHENTICATE, so that a wrong key of ours costs the
card no try.

Source: GlobalPlatform Card Specification 2.3.1, appendix E; Amendment D v1.1.1, clauses 5.3, 6 and 7.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Self

from card_os.iso7816.apdu import MAX_SHORT_NC, MAX_SHORT_NE, CommandApdu, ResponseApdu
from card_os.iso7816.status import SW, StatusWord
from personalization.errors import PersonalizationError
from personalization.globalplatform import commands
from personalization.globalplatform.aes_messaging import FULL_PROTECTION, SECURITY_LEVELS
from personalization.globalplatform.commands import CardState, DataGrouping, StatusScope
from personalization.globalplatform.data_key import DataKey
from personalization.globalplatform.handshake import Handshake, SecureChannelOption, SecureMessaging
from personalization.globalplatform.key_guard import KeyGuard
from personalization.globalplatform.key_loading import KeyType, NewKey, put_keys_answer, put_new_keys
from personalization.globalplatform.registry import RegistryEntry, parse_entries, parse_old_entries
from personalization.globalplatform.scp02 import PROTOCOL as SCP02
from personalization.globalplatform.scp02 import SECURITY_LEVELS as SCP02_LEVELS
from personalization.globalplatform.scp03 import CHALLENGE_LENGTH, InitializeUpdateResponse, StaticKeys
from personalization.globalplatform.store_data import Padding, store_data
from reader_bridge.connection import CardConnection

KeySource = Callable[[InitializeUpdateResponse], StaticKeys | Iterable[StaticKeys]]
"""Finds the keys of the card that answered, or all that they may be; its diversification data is the card number."""

_LEVELS: Final = SECURITY_LEVELS | SCP02_LEVELS
_MORE_COMMANDS: Final = 0x80
_LENGTH_OF_EXTENDED_HEADER: Final = 7
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
        protocol: 2 or 3.
        level: security level of the session.
        max_data: the most plain data bytes of one command, in extended length where the link carries it.
        place: which of the sets that were offered the card proved; 0 is the first.
    """

    __slots__ = (
        "_connection",
        "_dek",
        "_messaging",
        "_short_data",
        "_usable",
        "card",
        "key_version",
        "level",
        "max_data",
        "place",
        "protocol",
    )

    def __init__(
        self,
        connection: CardConnection,
        messaging: SecureMessaging,
        card: InitializeUpdateResponse,
        dek: DataKey,
        place: int = 0,
    ) -> None:
        self._connection = connection
        self._messaging = messaging
        self._dek = dek
        self._usable = True
        self.card = card.diversification
        self.key_version = card.key_version
        self.protocol = card.protocol
        self.level = messaging.level
        self.place = place
        self._short_data = messaging.max_data(MAX_SHORT_NC)
        extended = connection.description.max_command_data >= _EXTENDED_NC
        self.max_data = messaging.max_data(_EXTENDED_NC if extended else MAX_SHORT_NC)

    @classmethod
    def open(
        cls,
        connection: CardConnection,
        keys: StaticKeys | KeySource,
        *,
        aid: bytes | None = commands.ISSUER_DOMAIN_AID,
        key_version: int | None = None,
        level: int | None = FULL_PROTECTION,
        option: SecureChannelOption | None = None,
        guard: KeyGuard | None = None,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Select a security domain and authenticate to it.

        Args:
            connection: a powered card.
            keys: the key set, or a function that finds it from the answer to INITIALIZE UPDATE; it may name several,
                which are tried off the card.
            aid: security domain to select; None when the right one is selected already.
            key_version: version to ask for; by default that of ``keys``, or 00 (the card's own choice) for a function.
            level: security level of the session; None for the strongest that the card offers.
            option: protocol and `i` of the card, where they are known beforehand: a card in S16 mode wants a challenge
                of 16 bytes, and an SCP02 card tells its `i` nowhere else.
            guard: the run's guard, which refuses a second failure on one card.
            randomness: source of the host challenge.

        Raises:
            PersonalizationError: "card-refused" (select, INITIALIZE UPDATE), "key-set-blocked",
                "initialize-update-malformed", "secure-channel-unsupported", "key-version-mismatch",
                "security-level-unsupported", "authentication-stopped" (by the guard), "card-cryptogram-wrong" (the keys
                are not the card's, no try is spent), "external-authenticate-refused" (a try is spent).
            ReaderError: an exchange did not complete.
        """
        if level is not None and level not in _LEVELS:
            raise PersonalizationError("security-level-unsupported", exit_code=2, level=f"{level:02X}")
        if aid is not None:
            _plain(connection, commands.select(aid), "SELECT", accept=(SW.OK, SW.FILE_DEACTIVATED_WARNING))
        wanted = key_version if key_version is not None else keys.version if isinstance(keys, StaticKeys) else 0
        host_challenge = randomness(CHALLENGE_LENGTH if option is None else option.challenge_length)
        command = commands.initialize_update(commands.reference_of_set(wanted), host_challenge)
        answer = _plain(connection, command, "INITIALIZE UPDATE")
        handshake = Handshake.of(host_challenge, answer, aid, None if option is None else option.implementation)
        card = handshake.card
        if wanted and card.key_version != wanted:
            raise PersonalizationError("key-version-mismatch", wanted=wanted, offered=card.key_version)
        chosen = handshake.strongest_level() if level is None else level
        if not card.supports(chosen):
            raise PersonalizationError("security-level-unsupported", level=f"{chosen:02X}")
        if guard is not None:
            guard.check(card.diversification)
        found = keys if isinstance(keys, StaticKeys) else keys(card)
        return cls.finish(connection, handshake, found, level=chosen, guard=guard)

    @classmethod
    def finish(
        cls,
        connection: CardConnection,
        handshake: Handshake,
        keys: StaticKeys | Iterable[StaticKeys],
        *,
        level: int,
        guard: KeyGuard | None = None,
    ) -> Self:
        """Send EXTERNAL AUTHENTICATE after an INITIALIZE UPDATE that was answered, with the set that the card proved.

        Args:
            connection: the card, to which nothing was sent since.
            handshake: its answer.
            keys: the key set, or all that may be the card's; one that it did not prove never reaches it.
            level: security level, one that the card supports.
            guard: counts a failure, which is one for all of them.

        Raises:
            PersonalizationError: "card-cryptogram-wrong" (no try is spent), "external-authenticate-refused" (a try is
                spent), "response-not-authentic".
            ReaderError: the exchange did not complete.
        """
        card = handshake.card
        proved = handshake.proved((keys,) if isinstance(keys, StaticKeys) else keys)
        if proved is None:
            _count(guard, card)
            raise PersonalizationError("card-cryptogram-wrong", card=card.diversification.hex().upper())
        place, session = proved
        messaging = session.secure_messaging(level)
        response = _exchange(connection, messaging.external_authenticate(session.host_cryptogram))
        if response != SW.OK.encode():
            _count(guard, card)
            raise PersonalizationError(
                "external-authenticate-refused",
                card=card.diversification.hex().upper(),
                sw=str(StatusWord.parse(response)),
            )
        return cls(connection, messaging, card, session.data_key, place)

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
        response = self.exchange(command)
        if response.sw not in accept:
            raise _refused(f"INS {command.ins:02X}", command, response.sw)
        return response

    def exchange(self, command: CommandApdu) -> ResponseApdu:
        """Send one command under the session and return the verified plain response, whatever its status word is.

        Raises:
            PersonalizationError: "response-not-authentic", after which the session is over; "session-over".
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
        return response

    def begin_r_mac_session(self, protection: int = 0x10, data: bytes = b"") -> None:
        """BEGIN R-MAC SESSION: more protection of the responses that follow.

        Args:
            protection: 10 for R-MAC, 30 for R-MAC and R-ENCRYPTION (SCP03), 00 for one MAC at the end (SCP02).
            data: up to 24 bytes that enter the MAC.

        Raises:
            PersonalizationError: as `transmit`.
            ValueError: the session cannot begin it; nothing was sent.
        """
        self._messaging.begin_r_mac(protection)
        accepted = False
        try:
            self.transmit(commands.begin_r_mac_session(protection, data))
            accepted = True
        finally:
            self._messaging.r_mac_begun(protection, accepted=accepted)

    def end_r_mac_session(self) -> None:
        """END R-MAC SESSION; the MAC that it returns is verified.

        Raises:
            PersonalizationError: as `transmit`; "response-not-authentic", after which the session is over.
            ValueError: none is open; nothing was sent.
        """
        expected = self._messaging.end_r_mac()
        answer = self.transmit(commands.end_r_mac_session()).data
        if not hmac.compare_digest(answer, expected or b""):
            self._usable = False
            raise PersonalizationError("response-not-authentic", reason="the response MAC is wrong")
        self._messaging.r_mac_ended()

    def transmit_chained(self, command: CommandApdu) -> ResponseApdu:
        """Send INSTALL, DELETE or PUT KEY whose data field may be longer than a short command.

        It goes in extended length where the link carries that. Else it is protected whole, as if it did, and then cut;
        bit 8 of P1 tells that more comes (11.1.5.1).

        Raises:
            PersonalizationError, ReaderError: as `transmit`.
        """
        if len(command.data) <= self.max_data:
            return self.transmit(command)
        if not self._usable:
            raise PersonalizationError("session-over")
        wrapped = self._messaging.wrap(command._replace(ne=0, extended=True))
        header, data = wrapped[:_LENGTH_OF_EXTENDED_HEADER], wrapped[_LENGTH_OF_EXTENDED_HEADER:]
        data = data[: int.from_bytes(header[-2:], "big")]  # a Le of our own goes with the last command
        parts = [data[start : start + MAX_SHORT_NC] for start in range(0, len(data), MAX_SHORT_NC)]
        cla, ins, p1, p2 = header[:4]
        self._usable = False
        for part in parts[:-1]:
            answer = _exchange(self._connection, CommandApdu(cla, ins, p1 | _MORE_COMMANDS, p2, part).encode())
            if answer != SW.OK.encode():
                raise _refused(f"INS {ins:02X}", command, StatusWord.parse(answer))
        last = CommandApdu(cla, ins, p1, p2, parts[-1], MAX_SHORT_NE).encode()
        response = self._messaging.unwrap(_exchange(self._connection, last))
        self._usable = True
        if response.sw != SW.OK:
            raise _refused(f"INS {ins:02X}", command, response.sw)
        return response

    def put_keys(self, new: StaticKeys, *, replace: int, kind: KeyType | None = None) -> None:
        """PUT KEY of a secure channel set, and compare the check values that the card answers.

        Args:
            new: the set.
            replace: version that it replaces, 0 to add, FF for the factory set.
            kind: AES or DES; by default what the protocol of this session uses.

        Raises:
            PersonalizationError: "key-check-value-wrong": the card holds other keys than were meant.
        """
        chosen = kind or (KeyType.DES if self.protocol == SCP02 else KeyType.AES)
        answer = self.transmit(commands.put_key(new, self._dek, replace=replace, kind=chosen)).data
        if not hmac.compare_digest(answer, commands.put_key_answer(new, chosen)):
            raise PersonalizationError("key-check-value-wrong", version=new.version)

    def put_new_keys(self, version: int, keys: Sequence[NewKey], *, first_identifier: int, replace: int = 0) -> None:
        """PUT KEY of keys of any type with following identifiers, and compare what the card answers.

        Raises:
            PersonalizationError: "key-check-value-wrong".
        """
        command = put_new_keys(version, keys, self._dek, first_identifier=first_identifier, replace=replace)
        answer = self.transmit_chained(command).data
        if not hmac.compare_digest(answer, put_keys_answer(version, keys)):
            raise PersonalizationError("key-check-value-wrong", version=version)

    def install(
        self,
        *,
        package_aid: bytes,
        module_aid: bytes,
        instance_aid: bytes,
        privileges: bytes = b"\x00",
        parameters: bytes = b"",
        selectable: bool = True,
        combined: bool = False,
    ) -> None:
        """INSTALL [for install], with [make selectable] unless told otherwise; see `commands.install`."""
        self.transmit_chained(
            commands.install(
                package_aid=package_aid,
                module_aid=module_aid,
                instance_aid=instance_aid,
                privileges=privileges,
                parameters=parameters,
                selectable=selectable,
                combined=combined,
            )
        )

    @property
    def data_key(self) -> DataKey:
        """What encrypts secret groupings and keys in this session."""
        return self._dek

    def personalize(
        self, instance_aid: bytes, groupings: Iterable[DataGrouping], *, padding: Padding = Padding.ALWAYS
    ) -> int:
        """INSTALL [for personalization] and STORE DATA of all groupings; returns the number of STORE DATA commands."""
        blocks = store_data(groupings, dek=self._dek, max_data=self.max_data, padding=padding)
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
        self.transmit_chained(commands.delete(aid, related=related))

    def get_status(self, scope: StatusScope, aid: bytes = b"", *, old_form: bool = False) -> list[RegistryEntry]:
        """GET STATUS until the card has no more to tell; empty when nothing matches.

        Args:
            scope: which part of the registry.
            aid: search criterion, an AID or its beginning.
            old_form: ask for the form without tags, for cards of GlobalPlatform 2.1.1 that know no other.

        Raises:
            PersonalizationError: "registry-malformed": also when the card never comes to an end.
        """
        accept = (SW.OK, SW.MORE_DATA_FOLLOWS, SW.REFERENCE_DATA_NOT_FOUND)
        data = b""
        for round_number in range(_MAX_STATUS_ROUNDS):
            command = commands.get_status(scope, aid, following=bool(round_number), old_form=old_form)
            response = self.transmit(command, accept=accept)
            data += response.data
            if response.sw != SW.MORE_DATA_FOLLOWS:
                return parse_old_entries(data, scope) if old_form else parse_entries(data)
        raise PersonalizationError("registry-malformed", reason="the answer does not end")


def _count(guard: KeyGuard | None, card: InitializeUpdateResponse) -> None:
    if guard is not None:
        guard.failed(card.diversification)


def exchange_plain(connection: CardConnection, command: CommandApdu) -> ResponseApdu:
    """Exchange one command outside any session, whatever the card answers.

    Raises:
        PersonalizationError: "response-not-authentic": there is no status word, or the response does not end.
        ReaderError: the exchange did not complete.
    """
    return ResponseApdu.parse(_exchange(connection, command.encode()))


def _plain(
    connection: CardConnection, command: CommandApdu, name: str, *, accept: tuple[StatusWord, ...] = (SW.OK,)
) -> bytes:
    """Send a command that comes before the session; returns its response data (6283: selected on a locked card)."""
    response = exchange_plain(connection, command)
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
