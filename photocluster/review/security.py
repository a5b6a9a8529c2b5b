"""Who may ask: only a browser on this machine that was given the token, and only our own page in it.

What each check is against:

- the Host header must name this server: a foreign name that resolves to 127.0.0.1 (DNS rebinding) is refused;
- the token, random for each run, comes with the first address and is a cookie from then on (HttpOnly, SameSite=Strict):
  other users of this machine, and other sites, do not have it;
- a request that another site's page caused (Sec-Fetch-Site, Origin) is refused even with the cookie, and a POST must be
  JSON, which no plain form can send (cross-site request forgery); a GET changes nothing;
- bodies are limited;
- the answers forbid everything to a page that it does not need: no script or style but our files, no frame, no form, no
  HTML from text (Trusted Types), no referrer.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 1 << 20
"""Bytes of a request: a selection of 100,000 faces fits."""

TOKEN_BYTES = 32

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}

_WORDS = {
    400: "This request cannot be read.",
    403: "Not allowed. Open the address, token included, that photocluster review printed when it started.",
    405: "Not allowed.",
    413: "Too much at once.",
    415: "Only JSON is taken.",
    421: "This server does not go by that name. Open the address that photocluster review printed when it started.",
}


class Keys:
    """The token of one run, and keys that open the page once: for the command line of the browser that is started."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self._once: set[str] = set()

    def once(self) -> str:
        """Return a key that can be used one time: other users see the command lines of programs."""
        key = secrets.token_urlsafe(TOKEN_BYTES)
        self._once.add(key)
        return key

    def is_token(self, text: str) -> bool:
        """Return whether that is the token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(text.encode(), self.token.encode())

    def opens(self, text: str) -> bool:
        """Return whether that is the token or a key, which is used up by this."""
        if self.is_token(text):
            return True
        found = [key for key in self._once if hmac.compare_digest(text.encode(), key.encode())]
        self._once.difference_update(found)
        return bool(found)


class Gate:
    """The ASGI application before the application: lets through what may pass, and refuses the rest.

    Parameters
    ----------
    app
        What is behind the gate.
    keys
        The token.
    port
        The server's port.
    host
        What the server is bound to; "127.0.0.1" answers to that and to "localhost", another also to the addresses of
        this machine, which nobody can make resolve to something else.
    """

    def __init__(self, app: ASGIApp, keys: Keys, *, port: int, host: str = "127.0.0.1") -> None:
        self._app = app
        self._keys = keys
        self._port = port
        self._host = host
        self._cookie = f"photocluster-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        doubled = len(headers) != len(scope["headers"]) and _twice(scope["headers"], b"host")
        status = 400 if doubled else self._status(scope, headers)
        if status == 303:
            await _answer(send, 303, {"Location": "/", "Set-Cookie": self._set_cookie()})
        elif status:
            await _answer(send, status, {})
        else:
            await self._app(scope, _limited(receive), _with_headers(send))

    def _status(self, scope: Scope, headers: Mapping[str, str]) -> int:
        """Return 0 for a request that may pass, 303 for one that brings the token, else why not."""
        if not self._is_ours(headers.get("host", "")):
            return 421
        method, path = scope["method"], scope["path"]
        if method not in {"GET", "HEAD", "POST"}:
            return 405
        if method == "GET" and path == "/" and b"token=" in scope["query_string"]:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
            return 303 if self._keys.opens(given) else 403
        if headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return 403
        if not self._keys.is_token(self._given(headers.get("cookie", ""))):
            return 403
        return self._post_status(headers) if method == "POST" else 0

    def _post_status(self, headers: Mapping[str, str]) -> int:
        if headers.get("origin") != f"http://{headers['host']}":
            return 403
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return 415
        length = headers.get("content-length", "")
        return 413 if length.isdecimal() and int(length) > MAX_BODY else 0

    def _is_ours(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        if port != str(self._port):
            return False
        if name in {self._host, "127.0.0.1", "localhost", "[::1]"}:
            return True
        if self._host in {"127.0.0.1", "localhost", "::1"}:
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _given(self, cookies: str) -> str:
        for part in cookies.split(";"):
            name, _, value = part.strip().partition("=")
            if name == self._cookie:
                return value
        return ""

    def _set_cookie(self) -> str:
        return f"{self._cookie}={self._keys.token}; HttpOnly; SameSite=Strict; Path=/"


def _twice(headers: list[tuple[bytes, bytes]], name: bytes) -> bool:
    return sum(key == name for key, _ in headers) > 1


async def _answer(send: Send, status: int, headers: Mapping[str, str]) -> None:
    body = _WORDS.get(status, "").encode()
    shown = {**HEADERS, "Cache-Control": "no-store", "Content-Type": "text/plain; charset=utf-8", **headers}
    raw = [(key.lower().encode(), value.encode()) for key, value in shown.items()]
    raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


class BodyTooLarge(Exception):
    """More bytes came than are taken."""


def _limited(receive: Receive) -> Receive:
    """Return a `receive` that stops at `MAX_BODY`, whatever the header said."""
    taken = 0

    async def limited() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_BODY:
            raise BodyTooLarge
        return message

    return limited


def _with_headers(send: Send) -> Send:
    """Return a `send` that adds `HEADERS` to the answer."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {key.lower() for key, _ in message["headers"]}
            added = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items() if k.lower().encode() not in own]
            message = {**message, "headers": [*message["headers"], *added]}
        await send(message)

    return adding
