"""The library folder: SQLite rows and one memory-mapped matrix. `schema` describes the format byte by byte."""

from photocluster.store.clusters import ClusterInfo
from photocluster.store.history import Event, History, TakenBack
from photocluster.store.journal import Decision, clean_name, name_key
from photocluster.store.library import Library, Status
from photocluster.store.names import Assignment, IgnoredKind, PersonInfo, Sighting
from photocluster.store.photos import FileState, KnownFile, ScannedFile

__all__ = [
    "Assignment",
    "ClusterInfo",
    "Decision",
    "Event",
    "FileState",
    "History",
    "IgnoredKind",
    "KnownFile",
    "Library",
    "PersonInfo",
    "ScannedFile",
    "Sighting",
    "Status",
    "TakenBack",
    "clean_name",
    "name_key",
]
