"""The library folder: SQLite rows and one memory-mapped matrix. `schema` describes the format byte by byte."""

from photocluster.store.clusters import ClusterInfo
from photocluster.store.exchange import Exchange, NamedFace, PhotoFile
from photocluster.store.files import FileState, KnownFile, Pending
from photocluster.store.history import Event, History, TakenBack
from photocluster.store.journal import Decision, clean_name, name_key
from photocluster.store.library import Library, Status
from photocluster.store.names import Assignment, IgnoredKind, PersonInfo, Sighting
from photocluster.store.photos import ScannedFile
from photocluster.store.regions import KeptName, ShownPhoto, box_of, region_row

__all__ = [
    "Assignment",
    "ClusterInfo",
    "Decision",
    "Event",
    "Exchange",
    "FileState",
    "History",
    "IgnoredKind",
    "KeptName",
    "KnownFile",
    "Library",
    "NamedFace",
    "Pending",
    "PersonInfo",
    "PhotoFile",
    "ScannedFile",
    "ShownPhoto",
    "Sighting",
    "Status",
    "TakenBack",
    "box_of",
    "clean_name",
    "name_key",
    "region_row",
]
