"""Nobody is enrolled with a picture that is none, or that shows nobody, several people, too little or somebody else."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from pictures import png_header
from stand_ins.faces import STAND_IN_DIGEST, StandInFaceReader, draw_face, draw_portrait, embedding_of

from edged.errors import FaceError
from edged.identity.enrolment import (
    EnrolmentLimits,
    check_nobody_else,
    check_quality,
    check_same_person,
    make_crop,
    read_crop,
    read_one_face,
    read_picture,
)
from edged.identity.matching import Matcher
from edged.types import Pixels


def encode(pixels_rgb: Pixels, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(pixels_rgb, cv2.COLOR_RGB2BGR))[1].tobytes()


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG whose EXIF says how it is to be turned. Source: EXIF 2.32, 4.6.4."""
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def png_of_zeros(side_px: int) -> bytes:
    """A PNG of side x side black pixels, three orders of magnitude smaller than what it unpacks to."""
    rows = zlib.compress(bytes((1 + side_px * 3) * 64), 9)
    body = b"IDAT" + rows
    return png_header(side_px, side_px) + struct.pack(">I", len(rows)) + body + struct.pack(">I", zlib.crc32(body))


PORTRAIT = draw_portrait(5)
JPEG = encode(PORTRAIT)
PNG = encode(PORTRAIT, ".png")
FAR = encode(np.pad(draw_portrait(5, face_px=30), ((200, 200), (200, 200), (0, 0))))


def blurred() -> bytes:
    picture = draw_portrait(5, face_px=128)
    return encode(cv2.GaussianBlur(picture, (0, 0), 6))


def two_people() -> bytes:
    picture = np.full((200, 400, 3), 120, np.uint8)
    draw_face(picture, 3, (20, 30, 120, 130))
    draw_face(picture, 4, (200, 50, 300, 150))
    return encode(picture)


HOSTILE = [
    pytest.param(b"", "enrol.not_a_picture", id="no bytes"),
    pytest.param(b"\0" * 1000, "enrol.not_a_picture", id="zeros"),
    pytest.param(b"<html>not found</html>", "enrol.not_a_picture", id="a web page"),
    pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "enrol.not_a_picture", id="a pointer to a file"),
    pytest.param(b"GIF89a" + bytes(100), "enrol.not_a_picture", id="GIF"),
    pytest.param(b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\x02" + bytes(30), "enrol.not_a_picture", id="animated WebP"),
    pytest.param(b"\0\0\0\x18ftypheic" + bytes(100), "enrol.not_a_picture", id="HEIC"),
    pytest.param(JPEG[:2], "enrol.not_a_picture", id="JPEG: the first two bytes"),
    pytest.param(JPEG[:100], "enrol.not_a_picture", id="JPEG: header cut off"),
    pytest.param(PNG[:60], "enrol.not_a_picture", id="PNG: cut off"),
    pytest.param(b"\xff\xd8" + b"\xff" * 5000, "enrol.not_a_picture", id="JPEG: of fill bytes"),
    pytest.param(PNG[:40] + b"\xa5" * 200, "enrol.not_a_picture", id="PNG: damaged"),
    pytest.param(png_header(30_000, 30_000), "enrol.too_large", id="PNG bomb: 30 000 x 30 000 in a few bytes"),
    pytest.param(png_header(2**31 - 1, 1), "enrol.too_large", id="PNG: two thousand million wide"),
    pytest.param(png_header(0, 0), "enrol.too_large", id="PNG: of no pixels"),
    pytest.param(png_of_zeros(9000), "enrol.too_large", id="PNG bomb: 81 million pixels"),
    pytest.param(b"BM" + bytes(16) + struct.pack("<ii", 8, -(2**31)) + bytes(40), "enrol.too_large", id="BMP: turned height"),
    pytest.param(JPEG + bytes(21 * 1024 * 1024), "enrol.too_large", id="22 MB"),
    pytest.param(encode(np.zeros((1, 1, 3), np.uint8)), "enrol.no_face", id="one pixel"),
    pytest.param(encode(np.random.default_rng(1).integers(0, 256, (300, 300, 3), np.uint8)), "enrol.no_face", id="noise"),
    pytest.param(with_exif(JPEG, 3), "enrol.no_face", id="EXIF turns it upside down"),
    pytest.param(two_people(), "enrol.many_faces", id="two people"),
    pytest.param(FAR, "enrol.too_small", id="far away"),
    pytest.param(blurred(), "enrol.blurred", id="out of focus"),
]


@pytest.mark.parametrize(("data", "code"), HOSTILE)
def test_picture_that_will_not_do_is_refused_with_its_code(data, code):
    """Every one has an error of its own, with what to do about it."""
    reader = StandInFaceReader()

    with pytest.raises(FaceError) as caught:
        take(data, reader)

    assert caught.value.code == code
    assert caught.value.mend


def take(data: bytes, reader: StandInFaceReader) -> None:
    """As an enrolment does."""
    pixels_rgb = read_picture(data)
    check_quality(pixels_rgb, read_one_face(pixels_rgb, reader), EnrolmentLimits())


def test_picture_too_large_is_refused_before_it_is_decoded(monkeypatch):
    """Nobody fills our memory with a few bytes."""
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))

    for data in (png_of_zeros(9000), png_header(30_000, 30_000)):
        with pytest.raises(FaceError, match="pixels, allowed"):
            read_picture(data)


def test_jpeg_cut_off_in_its_pixels_shows_grey_there_and_no_face():
    """What is left of it is judged like any picture."""
    with pytest.raises(FaceError) as caught:
        take(JPEG[: len(JPEG) // 3], StandInFaceReader())

    assert caught.value.code in ("enrol.no_face", "enrol.not_a_picture")


@pytest.mark.parametrize(("orientation", "turn"), [(1, 0), (3, 2), (6, 1), (8, 3)])
def test_picture_is_turned_as_its_exif_says(orientation, turn):
    """A telephone that was held on its side gives the same face as one held upright."""
    data = with_exif(encode(np.ascontiguousarray(np.rot90(PORTRAIT, turn))), orientation)

    face = read_one_face(read_picture(data), StandInFaceReader(noise=0))

    assert face.embedding @ embedding_of(5) == pytest.approx(1, abs=1e-5)


def test_picture_of_a_wrong_suffix_is_what_its_bytes_say():
    """Names of files are not asked."""
    assert read_picture(PNG).shape == read_picture(JPEG).shape == PORTRAIT.shape


def test_picture_of_many_pixels_is_made_smaller():
    """A telephone's 24 million pixels are taken, and shown to the detector as 4096."""
    picture = np.full((6000, 4000, 3), 120, np.uint8)
    draw_face(picture, 5, (1000, 1000, 3000, 3000))

    pixels_rgb = read_picture(encode(picture))

    assert pixels_rgb.shape == (4096, 2731, 3)
    assert len(StandInFaceReader().find(pixels_rgb)) == 1


def test_face_in_the_background_is_no_second_one():
    """Less than a quarter as large as the face that is meant."""
    picture = draw_portrait(5, face_px=200)
    draw_face(picture, 6, (5, 5, 45, 45))

    face = read_one_face(picture, StandInFaceReader(noise=0))

    assert face.embedding @ embedding_of(5) == pytest.approx(1, abs=1e-5)


def test_face_with_an_embedding_that_is_none_is_refused(monkeypatch):
    """A broken encoder enrols nobody."""
    reader = StandInFaceReader()
    monkeypatch.setattr(reader, "embedding_of", lambda number: np.full(128, np.nan, np.float32))

    with pytest.raises(FaceError, match="engines verify") as caught:
        read_one_face(PORTRAIT, reader)

    assert caught.value.code == "enrol.embedding"


def test_face_that_looks_aside_is_refused():
    """Half of it would be missing."""
    (face,) = StandInFaceReader().find(PORTRAIT)
    face.points[2, 0] += 0.25 * (face.box[2] - face.box[0])

    with pytest.raises(FaceError, match="looks aside") as caught:
        check_quality(PORTRAIT, face, EnrolmentLimits())

    assert caught.value.code == "enrol.turned_away"


def make_matcher() -> Matcher:
    templates = np.stack([embedding_of(1), embedding_of(2)])
    return Matcher(templates, ["p1", "p2"], version=1, model_digest=STAND_IN_DIGEST, names={"p1": "Anna", "p2": "Bert"})


def test_face_of_somebody_enrolled_is_refused_under_another_name():
    """The message says who it is, and how twins are enrolled."""
    with pytest.raises(FaceError, match=r"this face is 'Anna' \(p1\).*allow look-alikes") as caught:
        check_nobody_else(embedding_of(1), make_matcher(), threshold=0.5, person_id=None)

    assert caught.value.code == "enrol.duplicate_of"


def test_face_of_the_person_themselves_is_no_duplicate():
    """A further picture of Anna may look like Anna; the nearest other one is told."""
    nearest = check_nobody_else(embedding_of(1), make_matcher(), threshold=0.5, person_id="p1")

    assert nearest.person_id == "p2"
    assert nearest.score < 0.5


def test_face_of_a_stranger_is_no_duplicate_up_to_the_threshold():
    """At the threshold it is: there the door would open."""
    score = float(embedding_of(3) @ embedding_of(1))
    best = max(score, float(embedding_of(3) @ embedding_of(2)))

    assert check_nobody_else(embedding_of(3), make_matcher(), threshold=best + 1e-4, person_id=None).score == pytest.approx(best)
    with pytest.raises(FaceError):
        check_nobody_else(embedding_of(3), make_matcher(), threshold=best - 1e-4, person_id=None)


def test_further_picture_must_show_the_same_person():
    """Nobody's picture ends up with another; the first picture is compared with none."""
    check_same_person(embedding_of(1), [], threshold=0.5)
    check_same_person(embedding_of(1), [embedding_of(2), embedding_of(1)], threshold=0.5)

    with pytest.raises(FaceError, match="does not look like the others") as caught:
        check_same_person(embedding_of(1), [embedding_of(2)], threshold=0.5)

    assert caught.value.code == "enrol.other_person"


def test_crop_kept_is_read_again_as_the_same_person(monkeypatch):
    """The aligned face, without the picture around it, is enough for another encoder."""
    reader = StandInFaceReader(noise=0)
    (face,) = reader.find(PORTRAIT)
    png = make_crop(PORTRAIT, face)
    shown = []
    monkeypatch.setattr(reader, "read", lambda pixels_rgb, faces: shown.append((pixels_rgb, faces)) or list(faces))

    again = read_crop(png, reader)

    ((crop, _),) = shown
    assert crop.shape == (112, 112, 3)
    assert again.points.shape == (5, 2)
    assert np.abs(crop.astype(int) - 120).max() > 50  # the face's black and white, not the grey around it


def test_crop_that_is_none_is_refused():
    """It was changed in spite of its encryption, or is of a version to come."""
    with pytest.raises(FaceError):
        read_crop(JPEG, StandInFaceReader())
