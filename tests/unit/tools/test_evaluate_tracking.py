"""Rules of the tracking figures."""

import json
from pathlib import Path

import numpy as np
import pytest

from edged.errors import EXIT_CONFIG, InputError
from edged.tracking.settings import TrackerSettings
from tools.evaluate_tracking import MotSequence, evaluate, load_mot_rows, load_sequence, main, track_rows

pytest.importorskip("trackeval", reason="the metrics come from trackeval")

FPS = 10.0
N_FRAMES = 40


def _walk(number: int, *, x: float, score: float = 1.0, class_id: int = -1) -> np.ndarray:
    """(N_FRAMES, 8) MOT rows of somebody who walks to the right."""
    frames = np.arange(1, N_FRAMES + 1)
    columns = [frames, number, x + 3 * frames, 100, 30, 80, score, class_id]
    return np.stack([np.broadcast_to(column, N_FRAMES) for column in columns], axis=1).astype(float)


def _sequence() -> MotSequence:
    return MotSequence(np.concatenate([_walk(4, x=0), _walk(9, x=300)]), N_FRAMES, FPS)


def _write_sequence(folder: Path) -> Path:
    (folder / "gt").mkdir()
    np.savetxt(folder / "gt" / "gt.txt", _sequence().rows, delimiter=",", fmt="%g")
    (folder / "seqinfo.ini").write_text(f"[Sequence]\nframeRate={FPS:g}\nseqLength={N_FRAMES}\n", encoding="utf-8")
    return folder


def test_evaluate_tracks_equal_to_labels_are_perfect():
    """The labels themselves, under other numbers, score 1 everywhere."""
    quality = evaluate(_sequence(), np.concatenate([_walk(1, x=0), _walk(2, x=300)]))

    assert (quality.mota, quality.idf1, quality.n_id_switches, quality.n_tracks) == (1.0, 1.0, 0, 2)
    assert quality.hota == pytest.approx(1.0)


def test_evaluate_no_tracks_finds_nothing():
    """An empty file is an answer, and a bad one."""
    quality = evaluate(_sequence(), np.zeros((0, 8)))

    assert (quality.mota, quality.idf1, quality.hota, quality.recall) == (0.0, 0.0, 0.0, 0.0)


def test_evaluate_number_that_changes_halfway_costs_identity_not_recall():
    """One object under two numbers: everything is found, IDF1 and HOTA fall."""
    tracks = np.concatenate([_walk(1, x=0), _walk(2, x=300)])
    tracks[N_FRAMES // 2 : N_FRAMES, 1] = 3

    quality = evaluate(_sequence(), tracks)

    assert quality.recall == 1.0
    assert quality.n_id_switches == 1
    assert quality.idf1 == pytest.approx(0.75)
    assert quality.hota < 0.95


def test_evaluate_invented_track_costs_precision():
    """A track where nothing is counts against MOTA."""
    tracks = np.concatenate([_walk(1, x=0), _walk(2, x=300), _walk(3, x=150)])

    quality = evaluate(_sequence(), tracks)

    assert quality.precision == pytest.approx(2 / 3)
    assert quality.mota == pytest.approx(0.5)


def test_evaluate_track_of_another_class_is_not_the_labelled_object():
    """Where labels name classes, a car's track on a person is none of its."""
    labels = MotSequence(_walk(4, x=0, class_id=0), N_FRAMES, FPS)

    same, other = evaluate(labels, _walk(1, x=0, class_id=0)), evaluate(labels, _walk(1, x=0, class_id=2))

    assert same.recall == 1.0
    assert other.recall == 0.0


def test_track_rows_perfect_detections_give_one_track_each():
    """The shipped tracker on faultless detections: two tracks, lost only are the frames before they are believed."""
    detections = np.concatenate([_walk(-1, x=0, score=0.9, class_id=0), _walk(-1, x=300, score=0.9, class_id=0)])

    rows = track_rows(detections, settings=TrackerSettings(), fps=FPS, n_frames=N_FRAMES)

    quality = evaluate(_sequence(), rows)
    assert quality.n_tracks == 2
    assert quality.precision == 1.0
    assert quality.recall >= (N_FRAMES - 3) / N_FRAMES


def test_load_sequence_leaves_out_boxes_marked_to_be_ignored(tmp_path):
    """conf 0 in MOT labels means: do not judge."""
    folder = _write_sequence(tmp_path)
    with (folder / "gt" / "gt.txt").open("a", encoding="utf-8") as file:
        file.write("1,77,0,0,10,10,0,-1\n")

    sequence = load_sequence(folder)

    assert 77 not in sequence.rows[:, 1]
    assert (sequence.n_frames, sequence.fps) == (N_FRAMES, FPS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("1,2,3\n", "8 columns", id="too few columns"),
        pytest.param("frame,id,x\n", "expected rows", id="words"),
        pytest.param(None, "expected rows", id="no such file"),
    ],
)
def test_load_mot_rows_of_something_else_says_what_it_expects(tmp_path, text, message):
    """The message names the file and the form."""
    path = tmp_path / "t.txt"
    if text is not None:
        path.write_text(text, encoding="utf-8")

    with pytest.raises(InputError, match=message):
        load_mot_rows(path)


def test_load_mot_rows_empty_file_has_no_rows(tmp_path):
    """A camera that saw nothing."""
    path = tmp_path / "t.txt"
    path.write_text("", encoding="utf-8")

    rows = load_mot_rows(path)

    assert len(rows) == 0


def test_main_tracks_prints_json(tmp_path, capsys):
    """One entry per file judged, only rows of the class asked for."""
    folder, tracks = _write_sequence(tmp_path), tmp_path / "t.txt"
    rows = np.concatenate([_walk(1, x=0, class_id=0), _walk(2, x=300, class_id=0), _walk(3, x=150, class_id=2)])
    np.savetxt(tracks, rows, delimiter=",", fmt="%g")

    code = main(["--gt", str(folder), "--tracks", str(tracks), "--json"])

    (quality,) = json.loads(capsys.readouterr().out).values()
    assert code == 0
    assert quality["mota"] == 1.0


@pytest.mark.parametrize(
    "missing",
    [
        pytest.param(["--tracks", "nowhere.txt"], id="tracks"),
        pytest.param(["--detections", "gt/gt.txt", "--peer-python", "nowhere/python", "--class-id", "-1"], id="peer"),
        pytest.param(["--detections", "gt/gt.txt", "--engine", "nowhere"], id="engine"),
    ],
)
def test_main_input_that_is_not_there_exits_78(tmp_path, monkeypatch, capsys, missing):
    """Wrong input is said in one line, not as a traceback."""
    folder = _write_sequence(tmp_path)
    monkeypatch.chdir(folder)

    code = main(["--gt", str(folder), *missing])

    assert code == EXIT_CONFIG
    assert "nowhere" in capsys.readouterr().err
