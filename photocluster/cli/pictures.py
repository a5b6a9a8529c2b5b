"""Pictures on a terminal: by the protocol of kitty, of iTerm2, or by sixel; none where it knows none of them.

Which one is told by the environment, or else asked: kitty's graphics query and the device attributes (DA1, in which 4
stands for sixel) are sent, and the reply awaited for a moment.

Sources: https://sw.kovidgoyal.net/kitty/graphics-protocol/, https://iterm2.com/documentation-images.html, and the VT340
programmer's reference for sixel and DA1.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

SECONDS = 0.3
"""How long a terminal may take to reply: they do in milliseconds, over a slow line in a tenth of a second."""

CHUNK = 4096
"""Bytes of base64 in one escape sequence of kitty's, by its documentation."""

COLOURS = 128
"""Of a sixel picture: terminals keep 256 at least, and half of them do for faces."""


class Protocol(StrEnum):
    """How pictures are shown."""

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    NONE = "none"


def detect(environment: Mapping[str, str] = os.environ) -> Protocol:
    """Return what the terminal on stdout understands; NONE where stdout is none."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return Protocol.NONE
    return by_environment(environment) or by_reply(_ask())


def by_environment(environment: Mapping[str, str]) -> Protocol | None:
    """Return the protocol that the environment names; None where it has to be asked for."""
    if environment.get("TERM", "") == "dumb":
        return Protocol.NONE
    if "TMUX" in environment or environment.get("TERM", "").startswith("screen"):
        return Protocol.NONE  # they swallow pictures, or paint them over the text
    if "KITTY_WINDOW_ID" in environment or environment.get("TERM", "") in {"xterm-kitty", "xterm-ghostty"}:
        return Protocol.KITTY
    if environment.get("TERM_PROGRAM") in {"iTerm.app", "WezTerm"} or environment.get("LC_TERMINAL") == "iTerm2":
        return Protocol.ITERM2
    return None


def by_reply(reply: bytes) -> Protocol:
    """Return the protocol that a terminal's reply to `_ask` names."""
    if b"\x1b_Gi=31;OK" in reply:
        return Protocol.KITTY
    start = reply.rfind(b"\x1b[?")
    end = reply.find(b"c", start)
    if start >= 0 and end >= 0 and b"4" in reply[start + 3 : end].split(b";")[1:]:
        return Protocol.SIXEL
    return Protocol.NONE


def _ask() -> bytes:
    """Send the queries and return the reply, empty where there is none in time or the system has no such terminals."""
    try:
        import select
        import termios
        import time
        import tty
    except ImportError:
        return b""
    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    reply = b""
    try:
        tty.setcbreak(stdin)
        sys.stdout.write("\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c")
        sys.stdout.flush()
        end = time.monotonic() + SECONDS
        while (left := end - time.monotonic()) > 0 and not _complete(reply):
            if select.select([stdin], [], [], left)[0]:
                reply += os.read(stdin, 1024)
    finally:
        termios.tcsetattr(stdin, termios.TCSANOW, before)
    return reply


def _complete(reply: bytes) -> bool:
    """Return whether the reply to the device attributes, which are asked for last, is there."""
    start = reply.rfind(b"\x1b[?")
    return start >= 0 and reply.find(b"c", start) >= 0


def side_by_side(left: Sequence[bytes], right: Sequence[bytes], *, height: int = 160, gap: int = 32) -> Image:
    """Return JPEG files in one row of a height, with a gap between the left ones and the right ones."""
    from PIL import Image as Pictures

    groups = [[_scaled(Pictures.open(io.BytesIO(file)), height) for file in side] for side in (left, right)]
    width = sum(picture.width for side in groups for picture in side) + gap * all(groups)
    row = Pictures.new("RGB", (max(width, 1), height), (32, 32, 32))
    x = 0
    for side in groups:
        for picture in side:
            row.paste(picture, (x, 0))
            x += picture.width
        x += gap
    return row


def _scaled(picture: Image, height: int) -> Image:
    return picture.convert("RGB").resize((max(1, round(picture.width * height / picture.height)), height))


def show_picture(picture: Image, protocol: Protocol) -> None:
    """Show a picture on the terminal."""
    sys.stdout.write(escape_sequence(picture, protocol))
    sys.stdout.flush()


def escape_sequence(picture: Image, protocol: Protocol) -> str:
    """Return what to write to a terminal for the picture to appear."""
    if protocol is Protocol.SIXEL:
        return sixel(picture)
    if protocol is Protocol.NONE:
        return ""
    file = io.BytesIO()
    picture.save(file, "PNG")
    code = base64.b64encode(file.getvalue()).decode("ascii")
    if protocol is Protocol.ITERM2:
        return f"\x1b]1337;File=inline=1;size={len(file.getvalue())}:{code}\x07\n"
    parts = [code[i : i + CHUNK] for i in range(0, len(code), CHUNK)]
    heads = [f"{'a=T,f=100,q=2,' if i == 0 else ''}m={int(i < len(parts) - 1)}" for i in range(len(parts))]
    return "".join(f"\x1b_G{head};{part}\x1b\\" for head, part in zip(heads, parts, strict=True)) + "\n"


def sixel(picture: Image) -> str:
    """Return a picture as sixel graphics: bands of six rows, one pass a colour, runs of equal columns counted."""
    import numpy as np

    reduced = picture.convert("RGB").quantize(COLOURS)
    palette = reduced.getpalette() or []
    pixels = np.asarray(reduced)
    colours = np.unique(pixels).tolist()
    parts = [f'\x1bPq"1;1;{picture.width};{picture.height}']
    for colour in colours:
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        parts.append(f"#{colour};2;{red};{green};{blue}")
    for top in range(0, picture.height, 6):
        band = pixels[top : top + 6]
        weights = (1 << np.arange(len(band)))[:, None]
        for colour in np.unique(band).tolist():
            columns = ((band == colour) * weights).sum(axis=0)
            parts.append(f"#{colour}{_runs(columns.tolist())}$")
        parts.append("-")
    return "".join(parts) + "\x1b\\\n"


def _runs(columns: Sequence[int]) -> str:
    """Return columns of six pixels as characters, repeated ones counted."""
    from itertools import groupby

    result = []
    for value, run in groupby(columns):
        length, character = len(list(run)), chr(63 + value)
        result.append(f"!{length}{character}" if length > 3 else character * length)
    return "".join(result)
