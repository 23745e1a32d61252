"""The stand-in for a reader of faces says the truth that was drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from stand_ins.faces import StandInFaceReader, draw_face, draw_portrait, embedding_of


@pytest.mark.parametrize("face_px", [20, 33, 160])
@pytest.mark.parametrize("number", [0, 1, 341, 511])
def test_face_drawn_is_read_through_jpeg_at_any_size(number, face_px):
    """Whose it is and whether it lives survive what a camera does to a picture."""
    reader = StandInFaceReader(noise=0)
    _, jpeg = cv2.imencode(".jpg", draw_portrait(number, face_px=face_px, live=number % 2 == 0))
    picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)

    (face,) = reader.read(picture, reader.find(picture))

    assert face.embedding @ embedding_of(number) == pytest.approx(1, abs=1e-5)
    assert (face.live > 0.5) == (number % 2 == 0)


def test_faces_drawn_are_found_with_their_places():
    """Two in one picture, each in its box; a region shows only one of them."""
    picture = np.zeros((200, 400, 3), np.uint8)
    draw_face(picture, 3, (20, 30, 80, 90))
    draw_face(picture, 4, (200, 50, 300, 150))
    reader = StandInFaceReader()

    assert [face.box.tolist() for face in reader.find(picture)] == [[20, 30, 80, 90], [200, 50, 300, 150]]
    assert [face.box.tolist() for face in reader.find(picture, (150, 0, 400, 200))] == [[200, 50, 300, 150]]


@pytest.mark.parametrize("picture", [np.zeros((50, 50, 3), np.uint8), np.ascontiguousarray(draw_portrait(5)[::-1, ::-1])])
def test_no_face_is_found_where_none_was_drawn_upright(picture):
    """Black, and a portrait upside down."""
    assert StandInFaceReader().find(picture) == []


def test_look_alikes_resemble_each_other_as_much_as_asked():
    """And themselves no less than others do."""
    reader = StandInFaceReader(look_alikes={7: (3, 0.8)})

    assert reader.embedding_of(7) @ reader.embedding_of(3) == pytest.approx(0.8, abs=1e-5)
    assert abs(reader.embedding_of(8) @ reader.embedding_of(3)) < 0.4
