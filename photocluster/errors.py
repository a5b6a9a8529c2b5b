"""The errors that photocluster raises on purpose.

::

    PhotoclusterError                 exit code 1
    +-- UsageError                    2  the request cannot be meant (unknown cluster, person, option value)
    |   +-- UnknownName               2  names the nearest matches
    |   +-- Outdated                  2  what was shown to the user is different by now
    +-- PhotoError                       one photo; a line in the scan's report, never the end of it
    |   +-- UnreadableFile               the file cannot be opened or read
    |   +-- UndecodablePhoto             the content is damaged, or of no known format
    |   |   +-- IncompletePhoto          it ends too early, and is perhaps still being copied
    |   +-- PhotoTooLarge                more pixels than the limit, refused before they are allocated
    |   +-- DegenerateLandmarks          five points that no similarity transform maps onto a face
    +-- StoreError
    |   +-- StoreMissing                 no library in that folder
    |   +-- StoreBusy                    another photocluster holds the write lock
    |   +-- StoreCorrupt                 the matrix and the rows disagree
    |   +-- StoreVersion                 written by a newer photocluster
    |   +-- RecipeMismatch               the library was made with other models or settings
    +-- ModelError                       a model file is missing, damaged or of another kind
    +-- MissingDependency                an optional package or a system library is not installed
    +-- Interrupted              130  the user pressed Ctrl-C; what was done is kept

Each message says what is wrong, where, and what to do about it.
"""

from __future__ import annotations

from typing import ClassVar


class PhotoclusterError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 1


class UsageError(PhotoclusterError):
    """What was asked for cannot be meant."""

    exit_code = 2


class UnknownName(UsageError):
    """No person or cluster goes by that name or number; the message lists the nearest ones."""


class Outdated(UsageError):
    """What the user saw when deciding is different by now; nothing was changed."""


class PhotoError(PhotoclusterError):
    """One photo cannot be used; the scan notes it and goes on."""


class UnreadableFile(PhotoError):
    """The file cannot be opened or read to its end."""


class UndecodablePhoto(PhotoError):
    """The content is damaged or of no format that can be decoded."""


class IncompletePhoto(UndecodablePhoto):
    """The content ends too early; it is to be tried again."""


class PhotoTooLarge(PhotoError):
    """The photo has more pixels than the limit."""


class DegenerateLandmarks(PhotoError):
    """The five landmarks coincide, or lie so that no alignment is defined."""


class StoreError(PhotoclusterError):
    """Something about the library folder."""


class StoreMissing(StoreError):
    """There is no library in the folder."""


class StoreBusy(StoreError):
    """Another process is writing."""


class StoreCorrupt(StoreError):
    """The matrix of embeddings and the rows of the database do not fit each other."""


class StoreVersion(StoreError):
    """The library has a format that this version does not know."""


class RecipeMismatch(StoreError):
    """The library's embeddings were made with another recipe, so new ones would not be comparable."""


class ModelError(PhotoclusterError):
    """A model file is missing, damaged, or not what its role needs."""


class MissingDependency(PhotoclusterError):
    """A package or system library that this request needs is not installed."""


class Interrupted(PhotoclusterError):
    """The user stopped the work; everything up to then is kept."""

    exit_code = 130
