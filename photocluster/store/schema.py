"""The format of a library folder, version 4.

A library is one folder, mode 0700, with two files (and two caches: ``neighbours.npz`` and the
folder ``.pictures``, which the modules `neighbours` and `pictures` describe):

``library.sqlite``
    SQLite, WAL, foreign keys on, ``application_id`` 0x50434C31 ("PCL1"), ``user_version`` the number of the last
    migration. Its tables are in `MIGRATIONS` below. What is stored how, and why:

    - a path is a BLOB, ``os.fsencode(path)``: file names need not be UTF-8;
    - a photo is its content: ``photo.hash`` is the SHA-256 of the file in hex, as ``sha256sum`` prints it;
    - ``photo.replaced_by``: every file that held this photo now holds another (it was edited, or its metadata were);
      its faces then stand for nothing of their own any more, unless the user named one that the new photo does not
      show;
    - ``photo.duration``: seconds of a video, null for a still photo; ``photo.phash`` is the perceptual hash, 64 bits as
      a signed integer, null where there is none; ``photo.burst``: what the photos of one burst share, by the camera's
      word or by their names (`bursts`); ``photo.shown_by``: another photo that shows the same moment and
      stands for both (the JPEG of a RAW, the still picture of a Live Photo): no face of this one counts;
    - ``file.state``: 'photo' (``photo`` says which), 'failed' (``error`` says why), 'other' (not a photo): a second
      scan reads none of them again while size and modification time stay; ``mtime_ns`` is -1 where the file could not
      be read, which says nothing of the file: it is tried again at each scan. Version 4 sets it so for
      all that were no photos before: they may be videos or raw files, which it knows;
    - ``file.shown_by``: the photo that shows this file's moment, as a scan found out: of a RAW its JPEG, of the clip of
      a Live Photo its picture. While that photo has a file, this one is 'other' and was never worked on, or its own
      photo is ``shown_by`` that one; when it has none any more, it is the other way round;
    - ``face.id`` is the row number in the matrix; ``face.landmarks`` is 5 x 2 little-endian float32, x before y;
    - ``face.time``, ``face.track``: seconds into a video, and which of its tracks; null in still photos;
    - names: ``person.key`` is the case-folded NFKC form of ``person.name``, so that one name is one person; ``born`` is
      an ISO date; ``hidden`` persons are not listed. ``alias`` holds other names of a person under that kind of key,
      which is neither another alias's nor a person's;
    - ``assignment``: who a face is. ``source`` is 'user', 'imported' or 'propagated'; ``rejection``: who it is not;
    - ``ignored``: faces that are to be left out for ever, and why: ``kind`` is 'stranger', 'crowd', 'statue', 'drawing'
      or 'not-a-face'; ``cover``: the face that stands for a person; ``mirror``: photos (by hash) in which one person
      may appear more than once: a mirror, a collage;
    - ``waiting``: statements of a backup whose face is not here (yet). ``key`` is the photo's hash and the box,
      ``entry`` the JSON object that `pipeline.backup` describes, with ids of persons in place of names;
    - ``pair``: two faces without a name, the lower id first, that the user said to be one person (``same`` 1) or two
      (0); ``suggestion``: the questions that were shown last, as JSON, so that an answer by number means them;
    - ``region``: a name that another program gave and no face here bears: ``photo`` is the hash, the box is in pixels
      of the upright photo, or null where the name was said of the photo as a whole; ``origin`` is what kind of source
      said so; ``key`` is made of photo, person and box. ``written``: what photocluster last wrote into a sidecar or a
      file, as JSON, so that it is known again, and can be withdrawn;
    - ``event``: one row per decision of the user, never changed or removed (but that forgotten faces leave it).
      ``changes`` is a JSON list of [table, before, after], rows as objects, null where there is none: enough to take
      the decision back and to replay it. ``takes_back``: the event that this one undoes, or the undo that it redoes;
    - ``cluster``: every number ever given, and the run in which it was born and in which it died; ``membership``
      belongs to the newest run; a face of no cluster is noise or new (then it is not in ``membership`` at all; noise
      has a null cluster);
    - ``meta``: ``recipe`` (JSON; see `records.Recipe`), ``rows`` (committed rows of the matrix), ``created_at``;
      ``settled``: how many rows there were when a scan last came to its end, so that the faces of one that was
      interrupted are still new to the next; ``mounts``: JSON object, root -> mount point that held it at the last scan;
      ``pending``: JSON list, how many files the last scan had still to look into, and whether it had found them all;
      ``clearing``: JSON list of rows that a forgotten photo left to be zeroed, while that has not been done.

``embeddings.npy``
    A NumPy file, format 1.0, of shape (rows, 128), little-endian float32, C order. Row i is the face with id i. Its
    header is padded to 128 bytes, so that the number of rows can grow in place: ``np.load(path, mmap_mode="r")`` opens
    it. The row of a face that was forgotten is zero and is not used again.

``meta.rows`` is the truth. A matrix with more rows has a leftover tail of an interrupted commit, which the next commit
overwrites; one with fewer is `StoreCorrupt`. The order of a commit is: BEGIN IMMEDIATE, write the vectors, fsync,
COMMIT. No pickle anywhere.

Before a migration the database is copied to ``library.sqlite.before-vN``. A library of a newer version is refused.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from photocluster.errors import StoreVersion

APPLICATION_ID = 0x50434C31

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE photo (
        id INTEGER PRIMARY KEY,
        hash TEXT NOT NULL UNIQUE,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        orientation INTEGER NOT NULL,
        format TEXT NOT NULL,
        captured_at TEXT,
        camera TEXT,
        replaced_by INTEGER REFERENCES photo ON DELETE SET NULL
    );
    CREATE TABLE file (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('photo', 'failed', 'other')),
        photo INTEGER REFERENCES photo,
        error TEXT,
        missing INTEGER NOT NULL DEFAULT 0,
        CHECK ((state = 'photo') = (photo IS NOT NULL))
    );
    CREATE INDEX file_photo ON file (photo);
    CREATE TABLE face (
        id INTEGER PRIMARY KEY,
        photo INTEGER NOT NULL REFERENCES photo,
        x0 REAL NOT NULL, y0 REAL NOT NULL, x1 REAL NOT NULL, y1 REAL NOT NULL,
        landmarks BLOB NOT NULL CHECK (length(landmarks) = 40),
        score REAL NOT NULL,
        size REAL NOT NULL,
        sharpness REAL NOT NULL,
        yaw REAL NOT NULL, pitch REAL NOT NULL, roll REAL NOT NULL,
        norm REAL NOT NULL,
        quality REAL NOT NULL
    );
    CREATE INDEX face_photo ON face (photo);
    CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE);
    CREATE TABLE assignment (
        face INTEGER PRIMARY KEY REFERENCES face,
        person INTEGER NOT NULL REFERENCES person,
        source TEXT NOT NULL CHECK (source IN ('user', 'imported', 'propagated')),
        distance REAL
    );
    CREATE INDEX assignment_person ON assignment (person);
    CREATE TABLE rejection (
        face INTEGER NOT NULL REFERENCES face,
        person INTEGER NOT NULL REFERENCES person,
        PRIMARY KEY (face, person)
    ) WITHOUT ROWID;
    CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        arguments TEXT NOT NULL,
        changes TEXT NOT NULL
    );
    CREATE TABLE run (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, parameters TEXT NOT NULL, faces INTEGER
    NOT NULL); CREATE TABLE cluster (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        born INTEGER NOT NULL REFERENCES run,
        died INTEGER REFERENCES run
    );
    CREATE TABLE membership (
        face INTEGER PRIMARY KEY REFERENCES face,
        cluster INTEGER REFERENCES cluster,
        probability REAL NOT NULL,
        outlier REAL NOT NULL
    );
    CREATE INDEX membership_cluster ON membership (cluster);
    """,
    """
    ALTER TABLE person ADD COLUMN born TEXT;
    ALTER TABLE person ADD COLUMN note TEXT NOT NULL DEFAULT '';
    ALTER TABLE person ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE event ADD COLUMN takes_back INTEGER REFERENCES event;
    CREATE TABLE alias (
        key TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        person INTEGER NOT NULL REFERENCES person
    ) WITHOUT ROWID;
    CREATE INDEX alias_person ON alias (person);
    CREATE TABLE ignored (
        face INTEGER PRIMARY KEY REFERENCES face ON DELETE CASCADE,
        kind TEXT NOT NULL CHECK (kind IN ('stranger', 'crowd', 'statue', 'drawing', 'not-a-face'))
    );
    CREATE TABLE cover (
        person INTEGER PRIMARY KEY REFERENCES person,
        face INTEGER NOT NULL REFERENCES face ON DELETE CASCADE
    );
    CREATE INDEX cover_face ON cover (face);
    CREATE TABLE mirror (photo TEXT PRIMARY KEY REFERENCES photo (hash) ON DELETE CASCADE) WITHOUT ROWID;
    CREATE TABLE waiting (key TEXT PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID;
    CREATE INDEX rejection_person ON rejection (person);
    """,
    """
    CREATE TABLE pair (
        face INTEGER NOT NULL REFERENCES face ON DELETE CASCADE,
        other INTEGER NOT NULL REFERENCES face ON DELETE CASCADE CHECK (face < other),
        same INTEGER NOT NULL CHECK (same IN (0, 1)),
        PRIMARY KEY (face, other)
    ) WITHOUT ROWID;
    CREATE INDEX pair_other ON pair (other);
    CREATE TABLE suggestion (number INTEGER PRIMARY KEY, question TEXT NOT NULL);
    """,
    """
    UPDATE file SET mtime_ns = -1 WHERE state != 'photo';
    ALTER TABLE photo ADD COLUMN duration REAL;
    ALTER TABLE photo ADD COLUMN phash INTEGER;
    ALTER TABLE photo ADD COLUMN burst TEXT;
    ALTER TABLE photo ADD COLUMN shown_by INTEGER REFERENCES photo ON DELETE SET NULL;
    CREATE INDEX photo_shown_by ON photo (shown_by) WHERE shown_by IS NOT NULL;
    ALTER TABLE file ADD COLUMN shown_by INTEGER REFERENCES photo ON DELETE SET NULL;
    CREATE INDEX file_shown_by ON file (shown_by) WHERE shown_by IS NOT NULL;
    CREATE INDEX photo_replaced_by ON photo (replaced_by) WHERE replaced_by IS NOT NULL;
    DROP INDEX file_photo;
    CREATE INDEX file_photo ON file (photo, missing);
    ALTER TABLE face ADD COLUMN time REAL;
    ALTER TABLE face ADD COLUMN track INTEGER;
    CREATE TABLE region (
        key TEXT PRIMARY KEY,
        photo TEXT NOT NULL REFERENCES photo (hash) ON DELETE CASCADE,
        person INTEGER NOT NULL REFERENCES person,
        x0 REAL, y0 REAL, x1 REAL, y1 REAL,
        origin TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX region_photo ON region (photo);
    CREATE INDEX region_person ON region (person);
    CREATE TABLE written (path BLOB PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
    """,
)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the database to the newest version, with a copy of the old one beside it.

    Raises
    ------
    StoreVersion
        The database is not ours, or was written by a newer photocluster.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if version and application != APPLICATION_ID:
        raise StoreVersion(f"{path} is a database of another program; give --library another folder")
    if version > len(MIGRATIONS):
        raise StoreVersion(
            f"{path} has format {version}, this photocluster knows up to {len(MIGRATIONS)}: update photocluster"
        )
    if 0 < version < len(MIGRATIONS):
        with closing(sqlite3.connect(path.with_name(f"{path.name}.before-v{version + 1}"))) as copy:
            connection.backup(copy)
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()  # another process may have been faster
    for number in range(version, len(MIGRATIONS)):
        for statement in MIGRATIONS[number].split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number + 1}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("COMMIT")
