"""The socket and the server."""

from __future__ import annotations

import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from photocluster.errors import UsageError
from photocluster.review.app import Review, application
from photocluster.review.security import Gate, Keys
from photocluster.store import Library
from photocluster.store.pictures import MAX_BYTES

LOOPBACK = "127.0.0.1"

SECONDS_TO_END = 2
"""How long open requests may take to end after Ctrl-C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where to serve, and how: `port` 0 is any that is free, `cache_bytes` the limit of the cache of pictures."""

    host: str = LOOPBACK
    port: int = 0
    browser: bool = True
    cache_bytes: int = MAX_BYTES


def serve(folder: Path, serving: Serving, announce: Callable[[str, int], None]) -> None:
    """Serve a library until Ctrl-C.

    Parameters
    ----------
    folder
        The library folder.
    serving
        Where and how.
    announce
        Called with the address, token included, and the port, as soon as requests are taken.

    Raises
    ------
    StoreError
        There is no library, or it cannot be used.
    UsageError
        The host or port cannot be bound.
    """
    with Library(folder):
        pass  # what is wrong with it is said before anything is shown
    with closing(_bound(serving.host, serving.port)) as listening:
        port = int(listening.getsockname()[1])
        name = f"[{serving.host}]" if ":" in serving.host else serving.host
        shown = name if serving.host not in {"0.0.0.0", "::"} else socket.gethostname()  # noqa: S104  compared
        keys = Keys()
        review = Review(folder, cache_bytes=serving.cache_bytes)
        app = Gate(application(review), keys, port=port, host=shown)
        base = f"http://{shown}:{port}/?token="

        def ready() -> None:
            announce(base + keys.token, port)
            if serving.browser:
                _open(base + keys.once())

        review.ready = ready
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=SECONDS_TO_END,
        )
        with suppress(KeyboardInterrupt):
            _Server(config, review).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Tells the open windows that it ends, so that it need not wait for them."""

    def __init__(self, config: uvicorn.Config, review: Review) -> None:
        super().__init__(config)
        self._review = review

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End."""
        super().handle_exit(sig, frame)
        self._review.changes.end()


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises
    ------
    UsageError
        The host is none of this machine, or the port is taken.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # With the protocol named, asyncio sets TCP_NODELAY: else each answer waits 40 ms for an acknowledgement.
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"{host} is no address of this machine ({error.strerror or error})") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"{host}:{port} cannot be used ({error.strerror or error}); give another --port, or none"
        ) from error
    listening.set_inheritable(False)
    return listening


def _open(address: str) -> None:
    """Open the user's browser, in a thread: some take their time."""

    def show() -> None:
        with suppress(webbrowser.Error):
            webbrowser.open(address)

    threading.Thread(target=show, daemon=True).start()
