from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from emojax.serve.guard import COOKIE, Gate, loopback_hosts, make_guard

OWN = Gate(loopback_hosts(8017))
TOKEN = "kept-secret"
OPEN = Gate(None, TOKEN)


def ask(
    gate: Gate, *headers: tuple[str, str], path: str = "/model", query: str = "", kind: str = "http"
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of what a guarded application answers; 200 comes from inside."""
    sent: list[Any] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        start = "http" if scope["type"] == "http" else "websocket.http"
        await send({"type": f"{start}.response.start", "status": 200, "headers": []})
        await send({"type": f"{start}.response.body", "body": b'"inside"'})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": kind,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }
    asyncio.run(make_guard(inside, gate)(scope, receive, send))
    start, body = sent
    found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], found, json.loads(body["body"]) if body["body"] else None


HOST = ("host", "127.0.0.1:8017")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([HOST], 200),
        ([("host", "localhost:8017")], 200),
        ([("host", "[::1]:8017")], 200),
        ([("host", "LOCALHOST:8017")], 200),
        ([], 421),
        ([HOST, HOST], 421),
        ([("host", "127.0.0.1")], 421),
        ([("host", "127.0.0.1:80")], 421),
        ([("host", "127.0.0.1.evil.example:8017")], 421),
        ([("host", "evil.example:8017")], 421),
        ([HOST, ("origin", "http://127.0.0.1:8017")], 200),
        ([HOST, ("origin", "http://localhost:8017")], 403),
        ([HOST, ("origin", "https://127.0.0.1:8017")], 403),
        ([HOST, ("origin", "http://127.0.0.1:9000")], 403),
        ([HOST, ("origin", "null")], 403),
        ([HOST, ("origin", "http://evil.example")], 403),
        ([HOST, ("origin", "http://127.0.0.1:8017"), ("origin", "http://evil.example")], 403),
        ([HOST, ("sec-fetch-site", "same-origin")], 200),
        ([HOST, ("sec-fetch-site", "none")], 200),
        ([HOST, ("sec-fetch-site", "cross-site")], 403),
        ([HOST, ("sec-fetch-site", "same-site")], 403),
    ],
)
def test_who_may_ask(headers: list[tuple[str, str]], status: int, kind: str) -> None:
    found, _, body = ask(OWN, *headers, kind=kind)
    assert found == status
    assert (body == "inside") == (status == 200)
    if status != 200:
        assert body["detail"]


@pytest.mark.parametrize(
    ("bound", "port", "secure", "hosts", "others"),
    [
        ("127.0.0.2", 8017, False, ["127.0.0.2:8017", "localhost:8017"], ["127.0.0.3:8017"]),
        ("0:0::1", 8017, False, ["[0:0::1]:8017", "[::1]:8017"], ["0:0::1:8017"]),
        ("127.0.0.1", 80, False, ["localhost", "[::1]:80"], ["localhost:443"]),
        ("127.0.0.2", 443, True, ["127.0.0.2", "localhost", "127.0.0.1:443"], ["evil.example"]),
        ("127.0.0.1", 443, False, ["localhost:443"], ["localhost"]),
        ("127.0.0.1", 80, True, ["localhost:80"], ["localhost"]),
    ],
)
def test_the_address_that_is_listened_on_is_ones_own(
    bound: str, port: int, secure: bool, hosts: list[str], others: list[str]
) -> None:
    gate = Gate(loopback_hosts(port, bound, secure), None, secure)
    assert [ask(gate, ("host", host))[0] for host in hosts] == [200] * len(hosts)
    assert [ask(gate, ("host", host))[0] for host in others] == [421] * len(others)


def test_answers_allow_the_page_alone() -> None:
    for headers in ([HOST], []):
        _, found, _ = ask(OWN, *headers)
        assert "default-src 'none'" in found["content-security-policy"]
        assert "frame-ancestors 'none'" in found["content-security-policy"]
        assert found["x-content-type-options"] == "nosniff"
        assert found["cache-control"] == "no-store"


def test_a_page_that_can_be_rewritten_on_the_way_claims_no_walls() -> None:
    """Browsers say so in the console of each page otherwise."""
    bearer, wall = ("authorization", f"Bearer {TOKEN}"), "cross-origin-opener-policy"
    for gate, headers, claims in (
        (OWN, [HOST], True),
        (OPEN, [("host", "any.example"), bearer], False),
        (Gate(None, TOKEN, secure=True), [("host", "any.example"), bearer], True),
    ):
        status, found, _ = ask(gate, *headers)
        assert (status, wall in found) == (200, claims)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([("authorization", f"Bearer {TOKEN}")], 200),
        ([("authorization", f"Bearer {TOKEN}x")], 401),
        ([("authorization", "Bearer é")], 401),
        ([("cookie", f"a=b; {COOKIE}={TOKEN}")], 200),
        ([("cookie", f"{COOKIE}=other")], 401),
        ([("cookie", "[]=;;=\x01")], 401),
    ],
)
def test_a_token_is_asked_for(headers: list[tuple[str, str]], status: int) -> None:
    assert ask(OPEN, ("host", "any.example"), *headers)[0] == status


def test_the_token_in_the_address_becomes_a_cookie() -> None:
    host = ("host", "any.example")
    status, found, _ = ask(OPEN, host, path="/", query=f"token={TOKEN}")
    assert (status, found["location"]) == (303, "/")
    assert found["set-cookie"].startswith(f"{COOKIE}={TOKEN};")
    assert "HttpOnly" in found["set-cookie"]
    assert "SameSite=Strict" in found["set-cookie"]
    assert ask(OPEN, host, path="/", query="token=other")[0] == 401
    # Elsewhere it would end up in a program's log.
    assert ask(OPEN, host, path="/model", query=f"token={TOKEN}")[0] == 401
    evil = ("origin", "http://evil.example")
    assert ask(OPEN, host, evil, path="/", query=f"token={TOKEN}")[0] == 403


def test_no_gate_stands_open() -> None:
    with pytest.raises(AssertionError):
        Gate(None, None)
