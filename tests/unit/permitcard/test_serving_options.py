"""What a user may ask for together, and how long an offer lasts."""

from __future__ import annotations

from pathlib import Path

import pytest

from permitcard.serving import require_fitting, wait
from permitcard.specimen import make_specimen
from personalization.errors import PersonalizationError
from reader_bridge.connection import ReaderError
from reader_bridge.offering import ConnectionServer
from reader_bridge.serving import CardServer


@pytest.mark.parametrize(
    ("way", "given", "code"),
    [
        ("vpcd", {"key": "key.pem"}, "option-useless"),  # a line that is thought to be TLS
        ("phoenix", {"certificate": "cert.pem"}, "option-useless"),
        ("tcp", {"key": "key.pem", "certificate": None}, "key-alone"),
        ("tcp", {"own_pcscd": True}, "option-useless"),
        ("tcp", {"link": "reader"}, "option-useless"),
        ("vpcd", {"host": "localhost"}, "option-useless"),
        ("ccid-serial", {"port": 5}, "option-useless"),
        ("pn532", {"own_pcscd": True}, "option-useless"),
        ("ccid-serial", {"atr": "t0"}, "option-useless"),
        ("vpcd", {"port": 65_535}, "port-last"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(way: str, given: dict[str, object], code: str) -> None:
    with pytest.raises(PersonalizationError) as failure:
        require_fitting(way, **given)
    assert (failure.value.code, failure.value.exit_code) == (code, 2)


def test_options_that_fit_are_taken() -> None:
    require_fitting("vpcd", port=65_534, host=None, own_pcscd=True, link=None, atr="t0", certificate=None, key=None)
    require_fitting("tcp", port=65_535, host="::", own_pcscd=False, certificate="cert.pem", key="key.pem")
    require_fitting("ccid-serial", own_pcscd=True, link="reader")


def test_serving_ends_when_what_is_offered_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reaches the card any more: waiting on would look as if all were well."""
    failure = ReaderError("pcscd-failed", reason="it ended with SIGKILL")
    with ConnectionServer() as server:
        assert server.failure is None
        monkeypatch.setattr(ConnectionServer, "failure", property(lambda _server: failure))
        with pytest.raises(ReaderError, match="SIGKILL"):
            wait(server)


@pytest.mark.parametrize("name", ["two words", "co:lon", "读卡器", "hash#"])
def test_a_device_file_that_pcscd_cannot_be_told_of_is_refused(tmp_path: Path, name: str) -> None:
    """pcsc-lite, reader.conf: a value is of letters, digits and a few signs; the kind of reader follows a colon."""
    card, _ = make_specimen()
    with card, CardServer(card) as server, pytest.raises(ReaderError, match="link-unnameable"):
        server.offer_ccid_serial(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_service_is_told_the_whole_path_of_a_device_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has another working folder."""
    monkeypatch.chdir(tmp_path)
    card, _ = make_specimen()
    with card, CardServer(card) as server:
        devices = [entry.device for entry in server.offer_ccid_serial("reader")]
    assert devices == [f"{tmp_path}/reader:GemPCTwin", f"{tmp_path}/reader-contactless:GemPCTwin"]
