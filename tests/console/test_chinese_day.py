"""A day of an issuing centre in Chinese, with mistakes: whatever an operator reads has no English but names."""

from __future__ import annotations

import html
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import openpyxl
import pytest

from personalization.intake.sample import write_sample
from personalization.intake.words import words
from personalization.keys.keystore import KeyName
from personalization.production.acts import Act, Role
from tests.console.command_line import ROOT
from tests.console.conftest import SmallCentre

WORD = re.compile(r"[A-Za-z]*[a-z]{3}[A-Za-z_-]*")
COMMAND = re.compile(r"permitcard(?: +(?:[a-z][a-z-]*|--?[a-zA-Z-]+|[A-Z]{3,}|RCO\d+|'[^']*'))*")
"""A command to type."""

TYPED = (
    re.compile(r"'[^']*'|可用的有：.*"),  # words of the command line
    re.compile(r"--[a-z-]+"),
    re.compile(r"\[[a-z-]+\]"),  # a rule by its name in docs/delivery-format.md, behind its words
    re.compile(r"(?:sim|pcsc):\S+"),
    re.compile(r"[\w.()-]*/\S*"),  # paths
    re.compile(r"[\w()-]*\.(?:card|csv|html|json|pdf|pem|toml|xlsx|zip)"),
    re.compile(r"\b[0-9a-f]{6,64}\b"),  # check values, hashes, a list of cards to be destroyed
    re.compile(r"\bstation-\d+"),
    re.compile(r"CN=.*"),  # what a certificate says
    re.compile(r"(?<![a-z])[a-z]+-\d{4}(?![0-9])"),  # a policy
    re.compile(r"[a-z_.]+(?=: )"),  # a field of a file
)
NAMES = frozenset(
    {
        *(name.value for name in KeyName),
        *(act.value for act in Act),
        *(role.value for role in Role),
        *("UnionPay", "ideal", "flash-", "simulated", "residence-permit", "resAppData-"),
        *("centre", "pcscd", "permitcard", "sqlite"),
    }
)
"""Names: of keys, acts and roles, which are typed; of things that have one name everywhere."""


@dataclass
class Day:
    """What an operator has read.

    Attributes:
        at: the centre.
        account: whoever runs the tests.
        read: what was read, by where it stood.
    """

    at: SmallCentre
    account: str
    read: dict[str, str] = field(default_factory=dict[str, str])

    def __call__(self, *arguments: str | Path, code: int = 0, centre: bool = True) -> str:
        """Run a command in Chinese."""
        more = ("--centre", "centre") if centre else ()
        told = self.at.prompt("--lang", "zh", *arguments, *more, code=code)
        line = f"{len(self.read)} {' '.join(map(str, arguments))}"
        self.read[line] = told.out + told.err
        return told.out + told.err

    def english(self) -> Iterator[tuple[str, str]]:
        """Where English stands, and in which line."""
        for place, text in self.read.items():
            for line in text.splitlines():
                plain = COMMAND.sub("", line)
                for pattern in TYPED:
                    plain = pattern.sub("", plain)
                known = {*NAMES, self.account, *re.findall(WORD, place)}
                if not known.issuperset(WORD.findall(plain)):
                    yield place, line.strip()


def words_of(page: Path) -> str:
    """What a reader of a page sees, one element a line."""
    text = re.sub(r"(?s)<(style|script)[^>]*>.*?</\1>", "", page.read_text("utf-8"))
    return html.unescape(re.sub(r"<[^>]+>", "\n", re.sub(r"<code>[^<]*</code>", "", text)))


def headings_of(book: Path) -> str:
    found = openpyxl.load_workbook(book, read_only=True)
    rows = [[str(cell) for cell in next(sheet.iter_rows(max_row=1, values_only=True))] for sheet in found.worksheets]
    found.close()
    return "\n".join(" ".join(row) for row in rows)


@pytest.fixture
def day(small_centre: SmallCentre) -> Day:
    from permitcard.system_accounts import system_user

    return Day(small_centre, system_user())


def batch_of(day: Day) -> str:
    return str(day.at("batch", "status").document["batch"])


def test_making_a_batch(day: Day) -> None:
    root, folder = day.at.centre.root, day.at.prompt.folder
    day("keys", "show")
    day("centre", "check")
    day("batch", "status", code=2)
    day("stock", "receive", "6")
    min((root / "cards").glob("*.card")).write_bytes(b"no card")
    day("batch", "run", day.at.delivered, "--stations", "1")
    day("station", "list", "--all")
    day("stock", "show")
    day("batch", "receipt")
    day("batch", "letters", "letters.pdf", code=2)
    day("batch", "release")
    day("batch", "letters", "letters.xlsx")
    day("batch", "faces", "faces.zip")
    day("batch", "return")
    for file in sorted((root / "batches").rglob("*.return-*")):
        day("batch", "open", file, "opened")
    day("batch", "remake", "--row", "3", "--reason", "nonsense", code=2)
    day("batch", "remake", "--row", "3", "--reason", "printing")
    day("batch", "status")
    day("batch", "report")
    day("stock", "sample", "1", "--purpose", "试验")
    day("stock", "cards")
    day("stock", "account")
    spoiled = day("stock", "list")
    assert "退回：打印缺陷  芯片已停用" in spoiled
    assert "读卡器：卡片文件已损坏  芯片未能停用" in spoiled
    day("stock", "destroy", "0000", code=2)
    day("stock", "destroy", str(day.at("stock", "list").document["list"]))
    day("stock", "discard", "4A5A0144000100000002", "--reason", "旧", code=2)
    day("audit", "verify")
    day("approve", "release", "nothing", code=2)
    day("keys", "transcript", "verify", root / "certificates" / f"{batch_of(day)}-receipt.json", centre=False)
    pages = [*(root / "reports").rglob("*.html"), *(root / "certificates").glob("*.html")]
    assert len(pages) > 7
    day.read |= {page.name: words_of(page) for page in pages}
    with zipfile.ZipFile(folder / "faces.zip") as archive:
        archive.extract("faces.xlsx", folder)
    books = [folder / "letters.xlsx", folder / "faces.xlsx", *sorted((folder / "opened").glob("*.xlsx"))]
    assert len(books) > 4
    day.read |= {book.name: headings_of(book) for book in books}
    assert "\n".join(map(str, sorted(set(day.english())))) == ""


def test_a_delivery_with_everything_wrong(day: Day) -> None:
    broken = write_sample(day.at.prompt.folder / "broken", 120, 8, damaged=True)
    checked = day("batch", "check", broken, "--html", "findings.html", code=1)
    rules = {code.split(".")[1] for code in words("zh").templates if code.startswith("rule.")}
    assert len(set(re.findall(r"\[([a-z-]+)\]", checked)) & rules) > 40
    day("batch", "prepare", broken, "--workers", "0", code=1)
    day("batch", "rehearse", broken, "--rows", "1", "--workers", "0", "--html", "rehearsal.html", code=1, centre=False)
    day("batch", "check", day.at.prompt.folder / "none.zip", code=2)
    day("batch", "run", day.at.prompt.folder, code=3)
    day("stock", "receive", "1", "--list", "none.csv", code=2)
    pages = ("findings.html", "rehearsal.html")
    day.read |= {name: words_of(day.at.prompt.folder / name) for name in pages}
    assert "\n".join(map(str, sorted(set(day.english())))) == ""


def test_a_desk(day: Day) -> None:
    day.at.make()
    card = f"sim:{min((day.at.centre.root / 'cards').glob('*.card'))}"
    area = ("--area", "330381")
    day("card", "read", "--card", card)
    day("desk", "bound", "2030-06-30")
    day("desk", "inspect", "--card", card, *area)
    day("desk", "inspect", "--police", "--card", card, *area)
    day("desk", "link", "--card", card, "--citizen-card", "Q1", *area, code=2)
    day("desk", "unlock-pin", "--card", card, "--unblocking", "00000000", "--new", "271828", *area, code=1)
    day("desk", "endorse", "--card", card, *area, "--on", "2031-01-01", code=1)
    day("desk", "withdraw", "lost", "--card", card, *area)
    day("desk", "endorse", "--card", card, *area, code=1)
    day("desk", "withdraw", "gone", "--card", card, *area, code=2)
    day("desk", "inspect", "--card", "sim:none.card", *area, code=2)
    day("desk", "platform", "platform.json", code=1)
    applicant = ROOT / "examples" / "permit" / "case.toml"
    day("case", "open", applicant, code=1)
    day("case", "review", "1", code=2)
    day("case", "list")
    day("permit", "check", applicant, code=1, centre=False)
    day("case", "deadlines")
    day("pass", "trust", "trust.pem")
    assert "citizen-card-form" not in "".join(day.read.values())
    assert "\n".join(map(str, sorted(set(day.english())))) == ""
