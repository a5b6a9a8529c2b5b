"""Tables: the columns, what is not known, text of all kinds, and a round trip of each format."""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from photocluster.errors import MissingDependency, PhotoclusterError, UsageError
from photocluster.records import Box, Detection, FaceRow, PhotoFacts, Quality, Source
from photocluster.tables import COLUMNS, WRITERS, escape, unescape, write_npz, write_table

HEADER = (
    "path,photo,face,x0,y0,x1,y1,detector_score,quality,cluster,person,source,distance,"
    "probability,size,sharpness,yaw,pitch,roll,norm,captured_at,camera,width,height,orientation,format,missing,"
    "duration,time,track,"
    "left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,left_mouth_x,left_mouth_y,right_mouth_x,right_mouth_y"
)

FULL = FaceRow(
    face=7,
    photo="ab" * 32,
    path="/photos/ünï, \"x\"\n'写真'.jpg",
    missing=True,
    facts=PhotoFacts(4000, 3000, 6, "JPEG", "2019-07-14T16:02:11", "Canon EOS 5D", 12.5),
    detection=Detection(
        Box(-1.23456, 2.0, 100.5, 200.25), 0.987654, np.arange(10, dtype=np.float32).reshape(5, 2) + 0.25
    ),
    quality=Quality(120.125, 0.31, -12.5, 3.0, 0.04, 9.87654, 0.8125),
    cluster=12,
    probability=0.5,
    person="=HYPERLINK(שרה)",
    source=Source.PROPAGATED,
    distance=0.912345,
    time=3.25,
    track=2,
)
BARE = replace(
    FULL,
    face=8,
    path="",
    missing=False,
    facts=PhotoFacts(10, 20, 1, "PNG", None, None),
    cluster=None,
    probability=None,
    person=None,
    source=None,
    distance=None,
    time=None,
    track=None,
)
ROWS = [FULL, BARE]
UNKNOWN = {
    "cluster",
    "person",
    "source",
    "distance",
    "probability",
    "captured_at",
    "camera",
    "duration",
    "time",
    "track",
}


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def test_the_header_is_exact(tmp_path):
    write_table([], tmp_path / "faces.csv")
    assert (tmp_path / "faces.csv").read_bytes() == HEADER.encode() + b"\r\n"


def test_csv_round_trip(tmp_path):
    write_table(ROWS, tmp_path / "faces.csv")
    full, bare = read_csv(tmp_path / "faces.csv")
    assert full["path"] == FULL.path
    assert full["person"] == "=HYPERLINK(שרה)"  # not changed, see the module
    assert [full[name] for name in ("x0", "y0", "x1", "y1")] == ["-1.23", "2.0", "100.5", "200.25"]
    assert (full["detector_score"], full["distance"], full["cluster"]) == ("0.9877", "0.9123", "12")
    assert (full["source"], full["missing"], full["captured_at"]) == ("propagated", "true", "2019-07-14T16:02:11")
    assert (full["left_eye_x"], full["right_eye_y"], full["right_mouth_y"]) == ("0.25", "3.25", "9.25")
    assert {name for name, value in bare.items() if value == ""} == UNKNOWN | {"path"}
    assert bare["missing"] == "false"


@pytest.mark.parametrize(("suffix", "read"), [(".json", read_json), (".jsonl", read_jsonl)])
def test_json_round_trip(tmp_path, suffix, read):
    path = tmp_path / f"faces{suffix}"
    write_table(ROWS, path)
    full, bare = read(path)
    assert ",".join(full) == HEADER
    assert (full["path"], full["person"], full["cluster"], full["missing"]) == (FULL.path, FULL.person, 12, True)
    assert (full["x0"], full["distance"]) == (-1.23, 0.9123)
    assert {name for name, value in bare.items() if value is None} == UNKNOWN


@pytest.mark.parametrize(("suffix", "read"), [(".json", read_json), (".jsonl", read_jsonl)])
def test_json_of_no_faces(tmp_path, suffix, read):
    write_table([], tmp_path / f"faces{suffix}")
    assert read(tmp_path / f"faces{suffix}") == []


def test_parquet_round_trip(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    write_table(ROWS, tmp_path / "faces.parquet")
    table = parquet.read_table(tmp_path / "faces.parquet")
    assert ",".join(table.column_names) == HEADER
    types = {"path": pa.string(), "cluster": pa.int64(), "x0": pa.float64(), "missing": pa.bool_()}
    assert {name: table.schema.field(name).type for name in types} == types
    full, bare = table.to_pylist()
    assert (full["path"], full["person"], full["x0"]) == (FULL.path, FULL.person, -1.23456)  # not rounded
    assert full["captured_at"] == datetime(2019, 7, 14, 16, 2, 11)  # noqa: DTZ001 - local time without zone
    assert {name for name, value in bare.items() if value is None} == UNKNOWN


def test_a_parquet_time_that_is_none_is_null(tmp_path):
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    odd = replace(FULL, facts=replace(FULL.facts, captured_at="2019-02-30T00:00:00"))
    write_table([odd], tmp_path / "faces.parquet")
    assert parquet.read_table(tmp_path / "faces.parquet").to_pylist()[0]["captured_at"] is None


def test_npz_round_trip_without_pickle(tmp_path):
    embeddings = np.random.default_rng(0).normal(size=(2, 128)).astype(np.float32)
    write_npz(ROWS, embeddings, tmp_path / "faces.npz")
    with np.load(tmp_path / "faces.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"embeddings", *HEADER.split(",")}
        np.testing.assert_array_equal(arrays["embeddings"], embeddings)
        assert arrays["embeddings"].dtype == np.float32
        assert arrays["path"].tolist() == [FULL.path, ""]
        assert arrays["person"].tolist() == [FULL.person, ""]
        assert arrays["cluster"].tolist() == [12, -1]
        assert arrays["missing"].tolist() == [True, False]
        assert arrays["distance"][0] == FULL.distance
        assert np.isnan(arrays["distance"][1])
        assert {array.dtype.kind for array in map(arrays.get, arrays)} == {"f", "i", "b", "U"}


def test_npz_of_no_faces(tmp_path):
    write_npz([], np.empty((0, 128), np.float32), tmp_path / "faces.npz")
    with np.load(tmp_path / "faces.npz", allow_pickle=False) as arrays:
        assert arrays["path"].shape == (0,)
        assert arrays["embeddings"].shape == (0, 128)


def test_npz_refuses_embeddings_of_other_rows(tmp_path):
    with pytest.raises(ValueError, match=r"\(2, 128\)"):
        write_npz(ROWS, np.zeros((3, 128), np.float32), tmp_path / "faces.npz")


@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".parquet"])
def test_a_path_that_is_not_utf8_comes_back(tmp_path, suffix):
    raw = b"/photos/\xe9t\xe9\\x41\\xff.jpg"
    row = replace(FULL, path=raw.decode("utf-8", "surrogateescape"))
    path = tmp_path / f"faces{suffix}"
    write_table([row], path)
    if suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        written = parquet.read_table(path).to_pylist()[0]["path"]
    else:
        written = {".csv": read_csv, ".json": read_json, ".jsonl": read_jsonl}[suffix](path)[0]["path"]
    assert written == r"/photos/\xe9t\xe9\x5cx41\x5cxff.jpg"
    assert unescape(written).encode("utf-8", "surrogateescape") == raw


@settings(deadline=None)
@given(st.text(st.one_of(st.sampled_from("\\xud0985cf\udcff\ud800"), st.characters())))
def test_escape_is_valid_unicode_and_reversible(text):
    escaped = escape(text)
    escaped.encode()
    assert unescape(escaped) == text


def test_common_paths_are_not_escaped():
    assert escape(r"C:\Users\xavier\été\IMG_1.jpg") == r"C:\Users\xavier\été\IMG_1.jpg"


def test_a_real_that_is_not_finite_is_not_known(tmp_path):
    row = replace(FULL, quality=replace(FULL.quality, sharpness=float("nan")), distance=float("inf"))
    write_table([row], tmp_path / "faces.json")
    (read,) = read_json(tmp_path / "faces.json")
    assert (read["sharpness"], read["distance"]) == (None, None)


def test_an_unknown_suffix_names_the_known(tmp_path):
    with pytest.raises(UsageError, match=r"\.csv, \.json, \.jsonl, \.parquet"):
        write_table(ROWS, tmp_path / "faces.xlsx")
    with pytest.raises(UsageError, match=r"\.npz"):
        write_npz(ROWS, np.zeros((2, 128), np.float32), tmp_path / "faces.csv")


def test_the_suffix_may_be_upper_case(tmp_path):
    write_table(ROWS, tmp_path / "FACES.CSV")
    assert len(read_csv(tmp_path / "FACES.CSV")) == 2


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(UsageError, match="create it first"):
        write_table(ROWS, tmp_path / "none" / "faces.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        write_table(ROWS, tmp_path / "folder.csv")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    out = tmp_path / "faces.csv"
    out.write_text("old")

    def fail(rows, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(WRITERS, ".csv", fail)
    with pytest.raises(PhotoclusterError, match="No space left"):
        write_table(ROWS, out)
    assert out.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["faces.csv"]


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match="pip install pyarrow"):
        write_table(ROWS, tmp_path / "faces.parquet")
    assert list(tmp_path.iterdir()) == []


def test_the_columns_are_unique_and_typed():
    names = [column.name for column in COLUMNS]
    assert len(set(names)) == len(names)
    expected = {"int": int, "real": float, "flag": bool, "text": str, "time": str}
    assert all(type(column.value(FULL)) is expected[column.kind] for column in COLUMNS)


def test_the_module_imports_no_pyarrow():
    import subprocess

    code = "import sys, photocluster.tables; raise SystemExit('pyarrow' in sys.modules)"
    root = Path(__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
