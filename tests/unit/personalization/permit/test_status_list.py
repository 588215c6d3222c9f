"""The status list: whole issues, deltas, and everything that is refused."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from personalization.errors import PersonalizationError
from personalization.keys.file_store import FileKeyStore
from personalization.permit.electronic.signed_message import sign_message
from personalization.permit.electronic.status_list import (
    Kind,
    Standing,
    StatusList,
    apply_delta,
    read_status_list,
)
from tests.unit.personalization.permit.conftest import NOW, signers_of

USE = b"permitcard status list 1"
FIRST = StatusList.empty(bytes(range(16)), NOW)
CHANGES = st.lists(
    st.tuples(
        st.dictionaries(
            st.tuples(st.sampled_from(Kind), st.binary(min_size=1, max_size=3)), st.sampled_from(Standing), max_size=4
        ),
        st.frozensets(st.tuples(st.sampled_from(Kind), st.binary(min_size=1, max_size=3)), max_size=3),
    ),
    min_size=1,
    max_size=6,
)


@given(changes=CHANGES, skipped=st.integers(0, 5))
def test_lists_and_deltas_agree_with_a_dict(
    office: FileKeyStore,
    changes: list[tuple[dict[tuple[Kind, bytes], Standing], frozenset[tuple[Kind, bytes]]]],
    skipped: int,
) -> None:
    """A terminal that has any earlier issue comes to the newest one by one delta."""
    signers = signers_of(office)
    model: dict[tuple[Kind, bytes], Standing] = {}
    issues = [FIRST]
    for added, removed in changes:
        model = {key: value for key, value in model.items() if key not in removed} | added
        issues.append(issues[-1].changed(NOW, added, removed))
    newest, base = issues[-1], issues[min(skipped, len(issues) - 2)]
    assert {key: newest.standing(*key) for key in model} == model
    assert len(newest.entries) == len(model)
    assert read_status_list(newest.sign(office), signers) == newest
    assert apply_delta(base, newest.sign_delta(office, base), signers) == newest


def test_an_entry_takes_nine_bytes(office: FileKeyStore) -> None:
    many = FIRST.changed(NOW, {(Kind.PERMIT, b"%018d" % number): Standing.CANCELLED for number in range(1000)})
    overhead = len(FIRST.sign(office))
    assert len(many.sign(office)) - overhead < 9 * 1000 + 10
    delta = many.changed(NOW, {(Kind.PERMIT, b"one more"): Standing.LOST})
    assert len(delta.sign_delta(office, many)) < 300


def test_the_list_names_nobody(office: FileKeyStore) -> None:
    number = b"330381300000000001"
    message = FIRST.changed(NOW, {(Kind.PERMIT, number): Standing.LOST}).sign(office)
    assert number not in message
    other = StatusList.empty(bytes(16), NOW)
    assert FIRST.handle(Kind.PERMIT, number) != other.handle(Kind.PERMIT, number)
    assert FIRST.handle(Kind.PERMIT, number) != FIRST.handle(Kind.PASS, number)


def test_a_delta_belongs_to_one_issue(office: FileKeyStore) -> None:
    signers = signers_of(office)
    second = FIRST.changed(NOW, {(Kind.PERMIT, b"1"): Standing.LOST})
    third = second.changed(NOW, {(Kind.PERMIT, b"2"): Standing.LOST})
    delta = third.sign_delta(office, second)
    assert apply_delta(second, delta, signers) == third
    for base in (FIRST, third, StatusList(second.sequence, NOW, bytes(16), second.entries)):
        with pytest.raises(PersonalizationError) as raised:
            apply_delta(base, delta, signers)
        assert raised.value.parameters["reason"] == "base"


def test_a_delta_on_another_content_comes_to_nothing(office: FileKeyStore) -> None:
    second = FIRST.changed(NOW, {(Kind.PERMIT, b"1"): Standing.LOST})
    third = second.changed(NOW, {(Kind.PERMIT, b"2"): Standing.LOST})
    forged = StatusList(second.sequence, NOW, FIRST.salt, MappingProxyType({}))
    with pytest.raises(PersonalizationError) as raised:
        apply_delta(forged, third.sign_delta(office, second), signers_of(office))
    assert raised.value.parameters["reason"] == "digest"


def test_lists_of_strangers_and_passes_are_refused(office: FileKeyStore, stranger: FileKeyStore) -> None:
    for message, reason in (
        (FIRST.sign(stranger), "signer-unknown"),
        (FIRST.sign(office)[:-1], "form"),
        (sign_message(office, FIRST.sign(office), b"permitcard electronic permit 1"), "signature"),
        (FIRST.sign_delta(office, FIRST), "form"),
    ):
        with pytest.raises(PersonalizationError) as raised:
            read_status_list(message, signers_of(office))
        assert (raised.value.code, raised.value.parameters["reason"]) == ("status-list-refused", reason)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop(3),
        lambda content: content.update({8: 0}),
        lambda content: content.update({1: "1"}),
        lambda content: content.update({2: "now"}),
        lambda content: content.update({2: 1 << 62}),
        lambda content: content.update({3: bytes(15)}),
        lambda content: content.update({4: bytes(8)}),
        lambda content: content.update({4: bytes(8) + b"\x09"}),
        lambda content: content.update({4: (bytes(8) + b"\x01") * 2}),
        lambda content: content.update({4: b"\x02" * 8 + b"\x01" + b"\x01" * 8 + b"\x01"}),
        lambda content: content.update({4: None}),
    ],
)
def test_signed_lists_of_another_form_are_refused(office: FileKeyStore, change: Callable[[Any], object]) -> None:
    content = {1: 2, 2: int(NOW.timestamp()), 3: bytes(16), 4: b""}
    read_status_list(sign_message(office, cbor2.dumps(content, canonical=True), USE), signers_of(office))
    change(content)
    message = sign_message(office, cbor2.dumps(content, canonical=True), USE)
    with pytest.raises(PersonalizationError, match="status-list-refused"):
        read_status_list(message, signers_of(office))


def test_the_age_of_an_issue() -> None:
    assert FIRST.age(NOW + dt.timedelta(hours=3)) == dt.timedelta(hours=3)
