"""The bench: its scene, its arithmetic, its report, and one short run."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
from models_onnx import make_segmenter_manifest, save_pixel_colour_engine

from edged.events.event import Event, EventType
from edged.events.schema import EventMessage
from edged.events.wire import Stamp, decode_event, encode_event
from edged.vision.boxes import iou_matrix
from tools.bench.__main__ import main
from tools.bench.clip import draw_clip
from tools.bench.cost import PARTS, Turn, summarise
from tools.bench.maps import MapsCost, detection_ms, measure_alone
from tools.bench.report import Goal, Report
from tools.bench.scene import make_boxes
from tools.bench.service import Arrival, ManyCameras, OneCamera, delay_of, percentile


def make_turn(*, pipeline_ms: float, decode_alone_ms: float, engine_alone_ms: float) -> Turn:
    return Turn(
        parts_ms={"nms": 0.5},
        pipeline_ms=pipeline_ms,
        decode_alone_ms=decode_alone_ms,
        engine_alone_ms=engine_alone_ms,
        in_turns_ms=decode_alone_ms + engine_alone_ms + 0.25,
        objects=10.0,
        detections=12.0,
        events=0.5,
    )


def make_one_camera(*, peak_rss_mb: float, own_ms_p99: float) -> OneCamera:
    return OneCamera(
        first_event_s=2.0,
        peak_rss_mb=peak_rss_mb,
        n_events=300,
        delay_ms_p50=15.0,
        delay_ms_p99=30.0,
        infer_ms_p50=11.0,
        own_ms_p50=4.0,
        own_ms_p99=own_ms_p99,
    )


@pytest.mark.parametrize("index", [0, 1, 99, 1023])
@pytest.mark.parametrize("n_objects", [0, 1, 10])
def test_make_boxes_of_any_frame_stand_apart_inside_the_input(n_objects, index):
    """No object hides another, so that each one is tracked."""
    boxes = make_boxes(n_objects, index, width=320, height=320)

    assert boxes.shape == (n_objects, 4)
    assert boxes.dtype == np.float32
    assert (boxes >= 0).all()
    assert (boxes <= 320).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert not np.triu(iou_matrix(boxes, boxes), 1).any()


def test_make_boxes_of_neighbouring_frames_overlap_enough_to_be_tracked():
    """Objects move, by little."""
    frames = [make_boxes(10, index, width=320, height=320) for index in range(300)]

    overlaps = [np.diag(iou_matrix(a, b)) for a, b in pairwise(frames)]

    assert np.min(overlaps) > 0.6
    assert np.median(overlaps) < 1.0


def test_summarise_takes_the_overhead_turn_by_turn():
    """A turn on a slow machine is slow in all three: its difference is as good as any other's."""
    turns = [
        make_turn(pipeline_ms=12.0, decode_alone_ms=0.5, engine_alone_ms=10.5),
        make_turn(pipeline_ms=24.0, decode_alone_ms=1.0, engine_alone_ms=21.9),
        make_turn(pipeline_ms=11.0, decode_alone_ms=0.5, engine_alone_ms=9.3),
    ]

    cost = summarise(turns)

    assert cost.overhead_ms == pytest.approx(1.1)
    assert cost.own_ms == pytest.approx(0.85)
    assert cost.pipeline_ms == 12.0
    assert cost.parts_ms["nms"] == 0.5
    assert cost.parts_ms["motion"] == 0.0


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        pytest.param([7.0], 99, 7.0, id="one value"),
        pytest.param(list(range(1, 101)), 99, 99, id="99 of 100"),
        pytest.param(list(range(1, 102)), 99, 100, id="never too low"),
        pytest.param([3.0, 1.0, 2.0], 50, 2.0, id="unsorted"),
        pytest.param([1.0, 2.0], 100, 2.0, id="all"),
    ],
)
def test_percentile_is_a_value_that_so_many_do_not_exceed(values, percent, expected):
    """The nearest rank, never an interpolation."""
    found = percentile(values, percent)

    assert found == expected


def test_delay_of_is_arrival_minus_capture_and_says_the_network_s_share():
    """Both clocks are the machine's own."""
    event = Event(EventType.OBJECT_NEW, 5.0, 1, 640, 360)
    stamp = Stamp(
        device="bench", epoch="e", camera="street", seq=1, captured_at=lambda s: 1_000_000.0 + s, stages_ms={"infer": 11.0}
    )

    delay = delay_of(Arrival(1_000_005.030, "topic", b""), decode_event(encode_event(event, stamp)))

    assert delay == (pytest.approx(30.0, abs=0.01), 11.0)


@pytest.mark.parametrize(
    ("value", "is_met"),
    [pytest.param(0.9, True, id="below"), pytest.param(1.0, True, id="at the limit"), pytest.param(1.01, False, id="above")],
)
def test_goal_is_met_up_to_its_limit(value, is_met):
    """The limit itself is allowed."""
    goal = Goal("name", value, 1.0, "ms")

    assert goal.is_met is is_met


def test_report_names_the_goals_that_were_missed_in_both_forms():
    """Neither a reader nor a program can overlook one."""
    many = ManyCameras(
        n_cameras=8,
        seconds=34.0,
        captured=4000,
        analysed=1300,
        dropped=1,
        cpu_cores=0.8,
        cpu_ms_per_frame=20.0,
        peak_rss_mb=250.0,
    )
    report = Report(machine={"cores": 2}, one_camera=make_one_camera(peak_rss_mb=299.0, own_ms_p99=21.0), many_cameras=many)

    text, document = report.to_text(), json.loads(json.dumps(report.to_json()))

    missed = [line for line in text.splitlines() if line.startswith("GOAL MISSED")]
    assert [line.split(":")[0] for line in missed] == [
        "GOAL MISSED  delay beyond the network, p99",
        "GOAL MISSED  frames dropped, 8 cameras",
    ]
    assert [goal["ok"] for goal in document["goals"]] == [True, True, False, False]
    assert document["cost"] is None


def test_bench_of_the_cost_prints_every_part(capsys):
    """A short run on the network that ships."""
    status = main(["--quick", "--only", "cost", "--json"])

    cost = json.loads(capsys.readouterr().out)["cost"]
    assert status == 0
    assert set(cost["parts_ms"]) == set(PARTS)
    assert cost["objects"] == pytest.approx(10, abs=0.5)
    assert 0 < cost["decode_alone_ms"] < cost["pipeline_ms"]


def test_bench_without_its_network_says_so(capsys):
    """What cannot be measured is an error, unlike a missed goal."""
    status = main(["--only", "cost", "--engine", "no-such-engine"])

    assert status == 1
    assert "no-such-engine" in capsys.readouterr().err


def make_event(seq: int, **stages_ms: float) -> EventMessage:
    event = Event(EventType.OBJECT_NEW, 5.0, seq, 640, 360)
    stamp = Stamp(device="bench", epoch="e", camera="street", seq=1, captured_at=lambda s: s, stages_ms=stages_ms)
    return decode_event(encode_event(event, stamp))


def test_detection_is_timed_once_a_frame_and_only_where_there_was_one():
    """Two events of one frame are one detection; a map's event is none; what follows the detection does not count."""
    events = [
        make_event(1, convert=1.0, letterbox=0.5, infer=10.0, nms=0.5, track=9.0),
        make_event(1, convert=1.0, letterbox=0.5, infer=10.0, nms=0.5, track=9.0),
        make_event(2, segment=200.0, areas=2.0),
        make_event(3, convert=1.0, infer=20.0),
    ]

    assert detection_ms(events) == [12.0, 21.0]


def test_report_judges_detections_beside_maps_by_their_ratio():
    """Milliseconds are this machine's; how many times as long counts."""
    maps = MapsCost(
        segmenter="scene 1, 480x384",
        cpu_ms_per_map=200.0,
        n_alone=30,
        n_maps=30,
        n_detections_off=300,
        n_detections_on=300,
        detect_ms_p50_off=12.0,
        detect_ms_p99_off=20.0,
        detect_ms_p50_on=12.5,
        detect_ms_p99_on=24.2,
        peak_rss_mb_off=120.0,
        peak_rss_mb_on=220.0,
    )

    (goal,) = Report(machine={}, maps=maps).goals()

    assert (goal.value, goal.is_met) == (pytest.approx(1.21), False)
    assert "p99 24.2 ms" in Report(machine={}, maps=maps).to_text()


def test_maps_alone_are_timed_one_by_one(tmp_path):
    """A real network on the clip, with the zones of the demo."""
    save_pixel_colour_engine(tmp_path / "engine", make_segmenter_manifest(), weights=np.eye(3))
    clip = draw_clip(tmp_path / "street.mp4", n_frames=5)

    label, cpu_ms = measure_alone(clip, segmenter=tmp_path / "engine", n_maps=3)

    assert label.endswith("64x32")
    assert len(cpu_ms) == 3
    assert min(cpu_ms) > 0
