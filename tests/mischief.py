"""An analyser that does what decoders do on bad days. It runs in worker processes, which import it from here."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import numpy as np
from making import FakeAnalyser

from photocluster import photos
from photocluster.pipeline import worker

CRASHES, ABORTS, IS_KILLED, EXITS, HANGS, EATS_MEMORY, DAMAGES, PRINTS = range(31, 39)
"""Persons of `making.picture` that make trouble when they are seen."""

SLOW_SECONDS = 0.02
STOPS_AFTER = 1_000_000
"""Photos after which `Slow` works no more: however late its scan is killed, there is something left to do."""


class Mischief(FakeAnalyser):
    """Sees people as `FakeAnalyser` does, but for those above."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        self.damaged = False

    def faces(self, decoded, watch):
        person = int(decoded.rgb[0, 0, 0]) // 5
        if person == CRASHES or (self.damaged and person):
            ctypes.string_at(0)
        if person == ABORTS:
            os.abort()
        if person == IS_KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if person == EXITS:
            os._exit(7)
        if person == HANGS:
            ctypes.PyDLL(None).sleep(3600)  # holds the interpreter lock, as a decoder in C may
        if person == EATS_MEMORY:
            np.empty(8 * 2**30, dtype=np.uint8)
        if person == PRINTS:
            os.write(2, b"TIFFReadDirectory: Warning, Unknown field with tag 34016\n")
        self.damaged = person == DAMAGES
        return super().faces(decoded, watch)


class HangsReading(FakeAnalyser):
    """Files whose name says so are on a share that gives no answer."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        read = photos.read

        def hang(path, **options):
            if "hangs" in path.name:
                time.sleep(3600)
            return read(path, **options)

        photos.read = hang


class Slow(FakeAnalyser):
    """Takes its time over each photo."""

    def faces(self, decoded, watch):
        time.sleep(SLOW_SECONDS)
        parent = os.getppid()
        while FakeAnalyser.analysed >= STOPS_AFTER and os.getppid() == parent:
            time.sleep(0.1)
        return super().faces(decoded, watch)


class DoesNotStart(FakeAnalyser):
    """Ends while it loads its models."""

    def __init__(self, **_) -> None:
        os.write(2, b"ImportError: cannot import name 'onnxruntime'\n")
        os._exit(3)


class Forgetful(FakeAnalyser):
    """Keeps more memory than a worker may, after each photo."""

    def __init__(self, **options) -> None:
        super().__init__(**options)
        worker.MAX_RESIDENT = 1
