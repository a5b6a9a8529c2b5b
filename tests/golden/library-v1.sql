-- A library of format 1, as photocluster wrote it before its first migration: what sqlite3's iterdump said of it.
-- Row i of its matrix is the i-th unit vector; row 3 is zero, since its photo was forgotten.
-- Never edit or regenerate this file: it stands for the libraries that people have.
BEGIN TRANSACTION;
CREATE TABLE assignment (
        face INTEGER PRIMARY KEY REFERENCES face,
        person INTEGER NOT NULL REFERENCES person,
        source TEXT NOT NULL CHECK (source IN ('user', 'imported', 'propagated')),
        distance REAL
    );
INSERT INTO "assignment" VALUES(0,1,'user',NULL);
INSERT INTO "assignment" VALUES(1,3,'imported',NULL);
INSERT INTO "assignment" VALUES(2,1,'propagated',0.5);
CREATE TABLE cluster (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        born INTEGER NOT NULL REFERENCES run,
        died INTEGER REFERENCES run
    );
INSERT INTO "cluster" VALUES(1,1,2);
INSERT INTO "cluster" VALUES(2,1,NULL);
INSERT INTO "cluster" VALUES(3,2,NULL);
CREATE TABLE event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        arguments TEXT NOT NULL,
        changes TEXT NOT NULL
    );
INSERT INTO "event" VALUES(1,'2025-11-22T00:00:00+00:00','label','{"targets": ["f0"], "person": "Ann"}','[["person", null, {"id": 1, "name": "Ann", "key": "ann"}], ["assignment", null, {"face": 0, "person": 1, "source": "user", "distance": null}]]');
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
INSERT INTO "face" VALUES(0,1,10.5,20.5,60.5,80.5,X'0000A0410000F041000020420000F0410000F041000020420000B041000048420000184200004842',0.9,54.8,0.25,-5.0,2.5,1.5,11.25,0.54);
INSERT INTO "face" VALUES(1,1,10.5,20.5,60.5,80.5,X'0000A0410000F041000020420000F0410000F041000020420000B041000048420000184200004842',0.9,54.8,0.25,-5.0,2.5,1.5,11.25,0.54);
INSERT INTO "face" VALUES(2,2,10.5,20.5,60.5,80.5,X'0000A0410000F041000020420000F0410000F041000020420000B041000048420000184200004842',0.9,54.8,0.25,-5.0,2.5,1.5,11.25,0.54);
INSERT INTO "face" VALUES(4,4,10.5,20.5,60.5,80.5,X'0000A0410000F041000020420000F0410000F041000020420000B041000048420000184200004842',0.9,54.8,0.25,-5.0,2.5,1.5,11.25,0.54);
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
INSERT INTO "file" VALUES(1,X'2F70686F746F732F6F6E652E6A7067',100,1000,'photo',1,NULL,0);
INSERT INTO "file" VALUES(2,X'2F70686F746F732F636F7079206F66206F6E652E6A7067',100,1001,'photo',1,NULL,0);
INSERT INTO "file" VALUES(3,X'2F70686F746F732F7477F62E706E67',200,2000,'photo',2,NULL,1);
INSERT INTO "file" VALUES(4,X'2F70686F746F732F74687265652E706E67',300,3000,'photo',3,NULL,0);
INSERT INTO "file" VALUES(5,X'2F70686F746F732F6261642E6A7067',5,5000,'failed',NULL,'damaged: image file is truncated',0);
INSERT INTO "file" VALUES(6,X'2F70686F746F732F6E6F7465732E747874',6,6000,'other',NULL,NULL,0);
CREATE TABLE membership (
        face INTEGER PRIMARY KEY REFERENCES face,
        cluster INTEGER REFERENCES cluster,
        probability REAL NOT NULL,
        outlier REAL NOT NULL
    );
INSERT INTO "membership" VALUES(0,2,1.0,0.0);
INSERT INTO "membership" VALUES(1,3,0.5,0.1);
INSERT INTO "membership" VALUES(2,2,0.75,0.2);
INSERT INTO "membership" VALUES(4,NULL,0.0,0.9);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('created_at','2025-11-22T00:00:00+00:00');
INSERT INTO "meta" VALUES('recipe','{"detector": "sha256:d", "embedder": "sha256:e", "mean": "sha256:m", "mirror": true, "detection_sizes": [320, 1280], "detection_threshold": 0.8, "nms_threshold": 0.4, "alignment": "arcface-112", "decoding": "upright-srgb-1/4000"}');
INSERT INTO "meta" VALUES('rows','5');
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, key TEXT NOT NULL UNIQUE);
INSERT INTO "person" VALUES(1,'Ann','ann');
INSERT INTO "person" VALUES(3,'Zoë','zoë');
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
INSERT INTO "photo" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',4000,3000,6,'JPEG','2019-07-14T16:02:11','NIKON D70',NULL);
INSERT INTO "photo" VALUES(2,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',640,480,1,'PNG',NULL,NULL,NULL);
INSERT INTO "photo" VALUES(3,'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc',640,480,1,'PNG',NULL,NULL,NULL);
INSERT INTO "photo" VALUES(4,'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd',640,480,1,'HEIF','2020-01-01T00:00:00',NULL,3);
CREATE TABLE rejection (
        face INTEGER NOT NULL REFERENCES face,
        person INTEGER NOT NULL REFERENCES person,
        PRIMARY KEY (face, person)
    ) WITHOUT ROWID;
INSERT INTO "rejection" VALUES(2,3);
CREATE TABLE run (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, parameters TEXT NOT NULL, faces INTEGER
    NOT NULL);
INSERT INTO "run" VALUES(1,'2025-11-22T00:00:00+00:00','{}',4);
INSERT INTO "run" VALUES(2,'2025-11-22T00:00:00+00:00','{}',4);
CREATE INDEX file_photo ON file (photo);
CREATE INDEX face_photo ON face (photo);
CREATE INDEX assignment_person ON assignment (person);
CREATE INDEX membership_cluster ON membership (cluster);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('person',3);
INSERT INTO "sqlite_sequence" VALUES('event',1);
INSERT INTO "sqlite_sequence" VALUES('run',2);
INSERT INTO "sqlite_sequence" VALUES('cluster',3);
COMMIT;
PRAGMA application_id = 1346587697;
PRAGMA user_version = 1;
