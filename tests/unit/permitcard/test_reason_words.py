"""Whatever stands in the journal as a reason, and whatever others say in English, has its words in both languages."""

from __future__ import annotations

import ast
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from card_os.iso7816.status import SW, StatusWord
from card_os.transport.events import Failure
from permitcard.foreign_words import SAID, in_own_words
from permitcard.translation import Language, Translator
from personalization.errors import PersonalizationError
from personalization.intake.applicant import Column
from personalization.intake.words import column_title, rule_title, words
from personalization.permit.evidence import Application, read_application
from personalization.production import making
from personalization.production.hooks import Act as HookedAct
from personalization.production.maker import FAULTS, REFUSALS
from personalization.production.reject_reason import RejectReason
from personalization.production.run import ROWS_FAILED
from personalization.production.states import Disposal
from personalization.production.station import Ending
from personalization.production.work import Condition
from personalization.reports.reasons import ReportWords
from reader_bridge.pcsc.binding import CODES
from tests.unit.permitcard.test_messages import errors, sources

LATIN = re.compile(r"[A-Za-z]{2,}")
NAMES = re.compile(r"\b(?:ATR|AID|CCID|Le|MAC|PC/SC|PCI|PN532|P1|P2|SAM|TCK|TLS|TLV|TOML|UTF-8|T=[01])\b")
"""Names that stand in Chinese sentences, too."""

CARD_READERS = ("reader_bridge/",)
NOT_AT_A_CARD = frozenset(
    {
        "bad-request",
        "fault-plan-invalid",
        "fault-plan-site",
        "fault-plan-unreadable",
        "import-empty",
        "import-order",
        "import-readers",
        "link-exists",
        "link-unnameable",
        "link-unwritable",
        "no-free-port",
        "no-pcscd",
        "no-pin-pad",
        "no-virtual-reader",
        "no-vpcd-driver",
        "pcscd-failed",
        "port-in-use",
        "address-unusable",
        "reader-model-unknown",
        "relay-rules-invalid",
        "relay-rules-unreadable",
        "remote-version",
        "replay-differs",
        "replay-failure",
        "replay-over",
        "t0-not-shown",
        "tls-files",
        "tls-key-locked",
        "token-too-short",
        "trace-empty",
        "trace-exists",
        "trace-hidden",
        "trace-keys-invalid",
        "trace-keys-unreadable",
        "trace-malformed",
        "trace-unreadable",
        "trace-unwritable",
        "trace-version",
    }
)
"""Codes of readers that no station meets while it has a card in hand."""

OWN = frozenset({"wrong-card", "untouched", "keys-refused", "in-doubt", "lease-over", "not-passed", "printed-before"})
SYSTEM_ERRORS = (
    "ENOENT",
    "EPERM",
    "EACCES",
    "EIO",
    "ENOSPC",
    "EDQUOT",
    "EROFS",
    "EFBIG",
    "EEXIST",
    "EISDIR",
    "ENOTDIR",
    "ENOTEMPTY",
    "ENAMETOOLONG",
    "EINVAL",
    "EBUSY",
    "ENODEV",
    "ENXIO",
    "ENOTTY",
    "EMFILE",
    "ENFILE",
    "ENOMEM",
    "EPIPE",
    "ELOOP",
    "EXDEV",
    "ETXTBSY",
    "EAGAIN",
    "ESTALE",
    "EOPNOTSUPP",
    "EADDRINUSE",
    "EADDRNOTAVAIL",
    "ECONNREFUSED",
    "ECONNRESET",
    "ECONNABORTED",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "ENETDOWN",
)
CHINESE = Translator.load(Language.CHINESE)
ENGLISH = Translator.load(Language.ENGLISH)
IN_CHINESE = ReportWords(CHINESE, "zh")
IN_ENGLISH = ReportWords(ENGLISH, "en")


def at_a_card() -> set[str]:
    """Codes of errors that end the work on one card."""
    raised = {code for site in errors() if site.place.startswith(CARD_READERS) for code in site.codes}
    return (raised | set(CODES.values())) - NOT_AT_A_CARD | making.CARD_IN_USE | {making.READER_MISSING}


def reasons() -> Iterator[str]:
    """Every form of a reason in the journal."""
    yield from OWN
    yield from (condition.value for condition in (Condition.TERMINATED, Condition.FOREIGN))
    yield from (f"rejected: {reason.value}" for reason in RejectReason)
    yield from (f"put-key: {code}" for code in FAULTS)
    yield "store-data: card-refused 6A80"
    yield "open-factory: keys-refused"
    yield from (f"reader: {code}" for code in at_a_card())
    yield from (f"inspection: {code}" for code in ("mute", "field.name", "refused.update.EF.STATUS", "not-passed"))
    yield "print: printed-before"
    for act in HookedAct:
        for moment in ("before", "after"):
            yield from (f"print: {moment}-{act.value} {how}" for how in ("exit-3", "signal-9", "not-ready", "time-out"))
    yield from (ending.value for ending in Ending)
    yield from ("crashed", "lost", "rejected", ROWS_FAILED)
    yield from ("batch-busy", "sam-gone", "hsm-token-missing", "key-guard-unwritable")
    yield from rules()


def rules() -> Iterator[str]:
    """Every rule of intake, which is the reason of a row that it refused."""
    for code in words("en").templates:
        group, _, rest = code.partition(".")
        if group == "rule" and rest.endswith(".finding"):
            yield rest.removesuffix(".finding")


@pytest.mark.parametrize("reason", sorted(set(reasons())))
def test_a_reason_is_told_in_words(reason: str) -> None:
    chinese = IN_CHINESE.reason(reason)
    plain = re.sub(r"\bEF\.[A-Z]+|\b6A80|GB/T|JPEG|PNG|BMP|NFC|[…—]", "", NAMES.sub("", chinese))
    assert not LATIN.search(plain), chinese
    english = IN_ENGLISH.reason(reason)
    code = reason.partition(": ")[2] or reason
    assert not ("-" in code and code in english), english
    assert "{" not in chinese + english


def test_the_tables_of_reasons_are_seen() -> None:
    assert len(set(rules())) > 50
    assert at_a_card() > {"mute", "card-removed", "reader-removed", "time-out"}
    assert FAULTS.isdisjoint(REFUSALS)


@pytest.mark.parametrize("said", [IN_ENGLISH, IN_CHINESE], ids=["en", "zh"])
def test_what_became_of_a_spoiled_chip_is_told_in_words(said: ReportWords) -> None:
    assert [value for value in Disposal if said.label("disposals", value.value) == value.value] == []


def test_what_an_operator_said_stays_as_it_is() -> None:
    assert IN_CHINESE.reason("discarded: bent: by hand") == "报废：bent: by hand"
    assert IN_CHINESE.reason("试用 sample") == "试用 sample"


def test_a_rule_has_a_title_without_the_facts_of_a_row() -> None:
    assert rule_title("text-too-long", "zh") == "共…个字符，最多…个"
    assert rule_title("no-rule", "zh") == ""
    assert [column.name for column in Column if LATIN.search(column_title(column, "zh"))] == []


# ---------------------------------------------------------------- what others say


def statuses() -> Iterator[str]:
    """Meanings of status words, and the two that carry a number."""
    yield from {value.text for value in vars(SW).values() if isinstance(value, StatusWord)}
    yield from (StatusWord(number).text for number in (0x63C2, 0x6110, 0x6C08, 0x6999))


def constants(expression: ast.expr) -> Iterator[str]:
    """Texts that a fact can be: a constant, either side of a choice, or words with an 8 for each value."""
    match expression:
        case ast.Constant(value=str(text)) if text:
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from (*constants(one), *constants(other))
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "8" for part in parts)
        case _:
            pass


def told_causes() -> Iterator[tuple[str, str]]:
    """Causes that our own modules give in English, with their places; those of scripts and traces stay as they are."""
    for path, tree in sources():
        if path.parts[-2] in {"tearing", "trace"} or path.name == "release_images.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                for word in node.keywords:
                    if word.arg in {"cause", "meaning", "reason"}:
                        yield from ((f"{path.name}:{node.lineno}", text) for text in constants(word.value))


def left_in_english(sentence: str) -> bool:
    own = CHINESE.templates.get(f"reason.{sentence}") or in_own_words(sentence, CHINESE)
    return bool(LATIN.search(NAMES.sub("", own)))


def test_status_words_have_chinese_words() -> None:
    assert [text for text in statuses() if left_in_english(text)] == []


def test_failures_of_a_line_have_chinese_words() -> None:
    assert [failure.value for failure in Failure if left_in_english(failure.value)] == []


def test_what_the_system_says_has_chinese_words() -> None:
    assert [name for name in SYSTEM_ERRORS if left_in_english(os.strerror(getattr(errno, name)))] == []


def test_what_the_smart_card_service_says_has_chinese_words() -> None:
    scard = pytest.importorskip("smartcard.scard")
    names = [name for name in dir(scard) if name.startswith(("SCARD_E_", "SCARD_F_", "SCARD_W_"))]
    assert len(names) > 30
    said = {str(scard.SCardGetErrorMessage(getattr(scard, name))).strip(" .") for name in names}
    assert [text for text in sorted(said) if left_in_english(re.sub("0x[0-9A-F]+", "8", text))] == []


def test_causes_that_we_give_have_chinese_words() -> None:
    given = [(place, text) for place, text in told_causes() if LATIN.search(text)]
    assert len(given) > 30
    assert [(place, text) for place, text in given if left_in_english(text)] == []


def test_what_is_wrong_with_an_application_is_told_in_chinese(tmp_path: Path) -> None:
    """Whatever stands in a field: the library's check says what it is not, and our own checks what does not fit."""
    wrong = tmp_path / "wrong.toml"
    values = ("1", "1.5", '"x"', '""', "true", "[]", "[1]", "{ x = 1 }", "2026-01-01", "2026-01-01T10:00:00")
    places: set[str] = set()
    for field in Application.model_fields:
        for value in values:
            wrong.write_text(f"area = '330381'\napplied = 2026-01-01\nbirth_date = 2000-01-01\n{field} = {value}\n")
            if field in {"area", "applied", "birth_date"}:
                wrong.write_text(f"{field} = {value}\n")
            try:
                read_application(wrong)
            except PersonalizationError as error:
                places |= {part.partition(": ")[2] for part in str(error.parameters["places"]).split("; ")}
    assert len(places) > 8
    said = {text: in_own_words(text, CHINESE) for text in sorted(places)}
    assert [text for text, own in said.items() if LATIN.search(NAMES.sub("", re.sub(r"'[^']*'", "", own)))] == []


def test_our_own_checks_of_fields_have_chinese_words() -> None:
    checked = ("spans.py", "evidence.py", "model.py", "case_file.py", "points.py")
    own = [
        text
        for path, tree in sources()
        if path.name in checked and "permit" in path.parts
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ValueError"
        for text in constants(node.args[0])
        if text != "the span has not ended"
    ]
    assert len(own) > 8
    assert [text for text in own if in_own_words(text, CHINESE) == text] == []


def test_no_sentence_of_others_reads_as_another() -> None:
    said = {code: text for code, text in ENGLISH.templates.items() if code.startswith(SAID) and "{" not in text}
    twice = {code: text for code, text in said.items() if in_own_words(text, CHINESE) != CHINESE.templates[code]}
    assert twice == {}


def test_a_cause_inside_a_sentence_is_told_in_its_language(tmp_path: Path) -> None:
    missing = {"path": tmp_path.name, "cause": os.strerror(errno.ENOENT)}
    assert CHINESE("file-failure", **missing).startswith(f"{tmp_path.name}：没有该文件或目录")
    assert "No such file" in ENGLISH("file-failure", **missing)
    refused = CHINESE("card-refused", command="SELECT", sw="6A82", meaning="file not found")
    assert refused == "卡拒绝了 SELECT：6A82，未找到文件或应用。"
