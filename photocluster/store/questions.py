"""The questions that were shown last, and what the user said of pairs of faces without a name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from photocluster.store.database import Database


class Questions:
    """Suggestions by number, and pairs of faces that are one person or two."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def show(self, questions: Sequence[dict[str, Any]]) -> None:
        """Put JSON objects in the place of those shown before, numbered from 1."""
        with self._database.transaction():
            self._database.execute("DELETE FROM suggestion")
            self._database.executemany(
                "INSERT INTO suggestion VALUES (?, ?)",
                [(number, json.dumps(question)) for number, question in enumerate(questions, 1)],
            )

    def shown(self) -> dict[int, dict[str, Any]]:
        """Return number -> the JSON object that was shown under it."""
        query = "SELECT number, question FROM suggestion ORDER BY number"
        return {number: json.loads(text) for number, text in self._database.execute(query)}

    def pairs(self, *, same: bool) -> list[tuple[int, int]]:
        """Return (face, face) that the user said to be one person, or two."""
        query = "SELECT face, other FROM pair WHERE same = ? ORDER BY face, other"
        return self._database.execute(query, (int(same),)).fetchall()

    def faces(self) -> list[int]:
        """Return the faces of all pairs, ascending."""
        query = "SELECT face FROM pair UNION SELECT other FROM pair ORDER BY 1"
        return [row[0] for row in self._database.execute(query)]

    def replaced(self) -> list[tuple[int, int]]:
        """Return (old photo id, new photo id) of replaced photos with a face in a pair."""
        return self._database.execute(
            "SELECT DISTINCT photo.id, photo.replaced_by FROM photo JOIN face ON face.photo = photo.id "
            "WHERE photo.replaced_by IS NOT NULL AND face.id IN (SELECT face FROM pair UNION SELECT other FROM pair) "
            "ORDER BY photo.id"
        ).fetchall()
