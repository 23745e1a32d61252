"""The page: everything in one file, every name escaped, charts and cut-outs drawn where they belong."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from tools.report.bootstrap import Interval
from tools.report.charts import Line, draw_chart, draw_interval
from tools.report.crops import FEWEST_PX, LONG_SIDE_PX, MarkedBox, cut_window, draw_crop
from tools.report.markup import Element, element, to_html


class _Reader(HTMLParser):
    """Tags with their attributes, and all text, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def _points(chart: Element, kind: str) -> list[tuple[float, ...]]:
    (line,) = [each for each in chart.iter("polyline") if kind in each.get("class")]
    return [tuple(float(number) for number in point.split(",")) for point in line.get("points").split()]


def test_to_html_escapes_text_and_attributes() -> None:
    """A file's name can hold anything; read back it is the same name, and nothing else."""
    name = '"></p><script>alert("1 & 2")</script>'
    reader = _Reader()

    reader.feed(to_html(element("html", element("p", name, title=name))))

    assert reader.tags == [("html", []), ("p", [("title", name)])]
    assert reader.text.strip() == name


def test_element_keeps_text_and_children_in_order() -> None:
    """Text after a child stays after it."""
    assert to_html(element("p", "a", element("b", "c"), "d", "e")).splitlines()[1] == "<p>a<b>c</b>de</p>"


def test_draw_chart_maps_ratios_to_the_square() -> None:
    """0 is left below, 1 right above; marks lie on the same axes."""
    line = Line(np.array([0.0, 1.0]), np.array([0.0, 1.0]), 0, mark=(1.0, 1.0))

    chart = draw_chart([line], title="t", x_label="x", y_label="y")

    (left, bottom), (right, top) = _points(chart, "ours")
    assert (left < right, top < bottom) == (True, True)
    (mark,) = [each for each in chart.iter("circle") if "mark" in each.get("class")]
    assert (float(mark.get("cx")), float(mark.get("cy"))) == (right, top)


def test_draw_chart_thins_a_long_line_but_keeps_its_ends_and_peaks() -> None:
    """Ten thousand points in a corner must not hide the few that make the rest of the line."""
    x = np.concatenate([[0.0, 0.5], np.linspace(0.9, 1.0, 10_000)])
    y = np.concatenate([[1.0, 0.25], np.zeros(10_000)])

    points = _points(draw_chart([Line(x, y, 0)], title="t", x_label="x", y_label="y"), "ours")

    whole = _points(draw_chart([Line(x[[0, 1, -1]], y[[0, 1, -1]], 0)], title="t", x_label="x", y_label="y"), "ours")
    assert len(points) < 100
    assert [points[0], points[1], points[-1]] == whole


@pytest.mark.parametrize("n", [0, 1])
def test_draw_chart_of_hardly_any_points_draws(n: int) -> None:
    """A class of which nothing was found has an empty curve, and a dot may be unknown."""
    line = Line(np.full(n, 0.5), np.full(n, np.nan), 0, weights=np.ones(n, np.int64))

    assert _points(draw_chart([line], title="t", x_label="x", y_label="y"), "ours") == []


def test_draw_chart_gives_dots_the_area_of_their_weight() -> None:
    """Four times the detections, twice the radius."""
    line = Line(np.array([0.2, 0.8]), np.array([0.2, 0.8]), 0, weights=np.array([100, 400]))

    chart = draw_chart([line], title="t", x_label="x", y_label="y")

    small, large = (float(each.get("r")) for each in chart.iter("circle"))
    assert large == 2 * small


def test_draw_interval_marks_zero_and_stays_on_its_axis() -> None:
    """A difference shows where nothing would be; what exceeds the axis ends at its edge."""
    bar = draw_interval([(0.05, Interval(-0.3, 0.1))], low=-0.1, high=0.1, title="t")

    zero = next(each for each in bar.iter("line") if each.get("class") == "zero")
    whisker = next(each for each in bar.iter("line") if "whisker" in each.get("class"))
    guide = next(each for each in bar.iter("line") if each.get("class") == "guide")
    assert float(zero.get("x1")) == 60
    assert [float(whisker.get(end)) for end in ("x1", "x2")] == [float(guide.get(end)) for end in ("x1", "x2")]


def test_draw_interval_of_nothing_is_an_empty_axis() -> None:
    """No figure, no dot."""
    assert list(draw_interval([(None, None)], title="t").iter("circle")) == []


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param([100, 100, 200, 150], (40, 15, 260, 235), id="square with surroundings"),
        pytest.param([0, 0, 100, 100], (0, 0, 160, 160), id="cut at the picture's corner"),
        pytest.param([200, 200, 204, 204], (202 - FEWEST_PX // 2, 178, 226, 226), id="tiny box shows its place"),
        pytest.param([0, 0, 640, 480], (0, 0, 640, 480), id="whole picture"),
    ],
)
def test_cut_window_shows_the_surroundings(box: list[float], expected: tuple[int, ...]) -> None:
    """A square around the box, as far as the picture reaches."""
    assert cut_window(np.array(box, np.float32), width=640, height=480) == expected


def test_draw_crop_draws_boxes_where_they_are_in_the_cut_out() -> None:
    """The window begins at 40, 15 and is 220 wide: the box begins 60 and 85 of these 220 from its corner."""
    box = np.array([100, 100, 200, 150], np.float32)

    crop = draw_crop(np.zeros((480, 640, 3), np.uint8), box, [MarkedBox(box, is_truth=True)], title="t")

    (truth,) = [each for each in crop.iter("rect") if each.get("class") == "truth"]
    scale = LONG_SIDE_PX / 220
    assert float(truth.get("x")) == pytest.approx(60 * scale, abs=0.06)
    assert float(truth.get("y")) == pytest.approx(85 * scale, abs=0.06)
    assert float(truth.get("width")) == pytest.approx(100 * scale, abs=0.11)
    assert next(crop.iter("image")).get("href").startswith("data:image/jpeg;base64,")


def test_draw_crop_of_a_box_outside_its_picture_draws_its_edge() -> None:
    """A label beside the picture is a mistake in the data, and no reason to stop."""
    box = np.array([700, 500, 720, 530], np.float32)

    draw_crop(np.zeros((480, 640, 3), np.uint8), box, [MarkedBox(box, is_truth=True)], title="t")
