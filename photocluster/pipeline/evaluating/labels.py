"""The table of labels: who is in a photo, which of its faces that is, and the photo's group.

Tab- or comma-separated with a header. `rel` is the photo's path relative to the table's folder, or else to the tree.
`identity` is the person, empty for none; without that column the photo's folder says it. `label_scope` tells which face
the person is, see `SCOPES`. Any column may be named as the group (age, origin, camera ...).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from photocluster.errors import UsageError

SCOPES = {
    "": "not said: as without labels",
    "centre": "the largest face whose box holds the frame's centre; the others are bystanders",
    "single": "the largest face",
    "contains": "one of the faces: known only where there is exactly one",
    "group": "several faces, none of them known",
    "none": "no face",
    "unlabelled": "nobody has looked",
    "n/a": "not a photo to measure on",
}
"""What may stand in the column `label_scope`."""


@dataclass(frozen=True, slots=True)
class Label:
    """One row: `identity` is None where the table has no such column, `group` "" where none was asked for."""

    identity: str | None
    scope: str
    group: str


@dataclass(frozen=True, slots=True)
class Labels:
    """The rows by path, and where they came from."""

    path: Path
    by_rel: Mapping[str, Label]

    def of(self, photo: Path, tree: Path) -> Label | None:
        """Return the label of a photo (absolute path), or None."""
        for base in (self.path.parent, tree):
            found = self.by_rel.get(os.path.relpath(photo, base).replace(os.sep, "/"))
            if found is not None:
                return found
        return None


def read_labels(path: Path, *, group_by: str | None = None) -> Labels:
    """Read a table of labels.

    Raises
    ------
    UsageError
        The table cannot be read, lacks a column, or holds an unknown scope.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would follow links
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: the labels cannot be read: {error}") from error
    header = text.partition("\n")[0]
    # A tab-separated table has no quoting: a lone quotation mark in a note is nothing but that.
    tabs = "\t" in header
    rows = csv.DictReader(
        text.splitlines(), delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
    )
    columns = list(rows.fieldnames or [])
    for column in ("rel", *([group_by] if group_by else [])):
        if column not in columns:
            raise UsageError(f'{path}: the labels have no column "{column}"; there are: {", ".join(columns) or "none"}')
    by_rel = {}
    for row in rows:
        scope = row.get("label_scope") or ""
        if scope not in SCOPES:
            known = ", ".join(name for name in SCOPES if name)
            raise UsageError(f'{path}, line {rows.line_num}: unknown label_scope "{scope}"; known are: {known}')
        identity = (row["identity"] or "") if "identity" in columns else None
        by_rel[row["rel"]] = Label(identity, scope, (row[group_by] or "") if group_by else "")
    return Labels(path, by_rel)
