"""Each trap of umqtt and requests: the bare library falls into it, ours does not. 32 bits, and the
preview, whose `requests` is a newer one."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
from certificates import Issued, issue
from interpreters import PREVIEW

from ivota_workshop.bench.traps import (
    CASES,
    FAULT,
    HANG,
    Case,
    cured,
    good_broker,
    good_files,
    library_version,
    run,
    run_bare,
    run_ours,
)
from ivota_workshop.bench.traps.server import Peer, Server

PAGE = Path(__file__).parents[2] / "docs" / "defects.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_trap(case: Case) -> None:
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("interpreter", [PREVIEW], indirect=True)
@pytest.mark.usefixtures("interpreter")
def test_trap_on_the_preview(case: Case) -> None:
    check(case)


def check(case: Case) -> None:
    version = library_version(case)
    bare, ours = run(case)
    assert bare.outcome == (case.kind if case.falls(version) else case.newer), (version, bare)
    assert cured(case, ours), ours


def test_a_version_that_is_newer_no_longer_falls() -> None:
    case = next(case for case in CASES if case.name == "chunked")
    assert [case.falls(version) for version in ("0.9.1", "0.10.2", "0.10.3", "1.1.1")] == [
        True,
        True,
        False,
        False,
    ]


def test_there_are_enough_of_them() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    assert sum(case.kind == HANG for case in CASES) >= 14


def test_the_page_of_defects_lists_each_of_them() -> None:
    rows = re.findall(
        r"^\| (.+) \| (.+) \| (hangs|fails) \| `test_trap\[(\w+)\]` \|$", PAGE.read_text(), re.M
    )
    words = {HANG: "hangs", FAULT: "fails"}
    assert [(defect, how, name) for defect, _, how, name in rows] == [
        (case.defect, words[case.kind], case.name) for case in CASES
    ]
    for case, (_, which, _, _) in zip(CASES, rows, strict=True):
        assert re.findall(r"up to ([\d.]+)", which) == ([case.until] if case.until else []), case


# What needs a certificate


@pytest.fixture(scope="module")
def issued(tmp_path_factory: pytest.TempPathFactory) -> tuple[Issued, Issued]:
    """An authority, and the certificate of `localhost` by it."""
    folder = tmp_path_factory.mktemp("certificates")
    authority = issue(folder, "authority", "an authority")
    return authority, issue(folder, "good", "localhost", authority)


def _context(own: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.pem, own.key_pem)
    return context


def _https(kind: str) -> Case:
    return Case("https", kind, "get_https", good_files, "", options={"good": "yes"})


def _ca(path: Path) -> dict[str, str]:
    return {"ca": str(path)}


def _refusing(path: Path) -> dict[str, str]:
    return {**_ca(path), "limit": "4000"}


def test_bare_requests_takes_any_certificate_and_ours_only_a_verified_one(
    issued: tuple[Issued, Issued], tmp_path: Path
) -> None:
    """Every version of requests does, up to 1.1.1: its context is CERT_NONE."""
    authority, own = issued
    stranger = issue(tmp_path, "stranger", "a stranger")
    case = _https(FAULT)
    with Server(good_files, good_files, 0, context=_context(own)) as server:
        # It never saw the authority, and is content.
        assert run_bare(case, server).outcome == "right"
        ours = run_ours(case, server, {**_ca(authority.pem), "loses": "0"})
        assert ours.well and not ours.lost
        refused = run_ours(case, server, _refusing(stranger.pem))
        assert not refused.well
        assert refused.lost and "trusted CA" in refused.lost[0]


def test_bare_requests_follows_from_https_to_http_and_ours_does_not(
    issued: tuple[Issued, Issued],
) -> None:
    """Every version of requests does, up to 1.1.1."""
    authority, own = issued
    with Server(good_files, good_files, 0) as plain:

        def downgrade(peer: Peer) -> None:
            peer.request()
            peer.head("HTTP/1.1 302 Found", f"Location: http://127.0.0.1:{plain.port}/f", "")

        with Server(downgrade, downgrade, 0, context=_context(own)) as server:
            case = _https(FAULT)
            assert run_bare(case, server).outcome == "right"
            assert plain.connections == 1
            ours = run_ours(case, server, _refusing(authority.pem))
            assert not ours.well
            assert "from https to http" in ours.lost[0]
            assert plain.connections == 1


def test_a_tls_broker_that_is_verified_gets_through(issued: tuple[Issued, Issued]) -> None:
    authority, own = issued
    case = Case("tls", FAULT, "connect_tls", good_broker, "", loses=False)
    with Server(good_broker, good_broker, 0, context=_context(own)) as server:
        ours = run_ours(case, server, {**_ca(authority.pem), "good": "yes"})
        assert ours.well and not ours.lost, ours
