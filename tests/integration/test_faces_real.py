"""Photographs of people that no network was trained on, on the drawn street's people: the shipped networks, end to end."""

from __future__ import annotations

import csv
import json
import tarfile
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from stand_ins.face_referee import ListeningSink, judge
from stand_ins.faced_street import FacedStreet

from edged import replay
from edged.config import Config, find_gallery_key, parse_config
from edged.config.faces import FACE_DETECTOR, FACE_ENCODER
from edged.errors import ModelError
from edged.face_assembly import find_face_engines, open_face_reader
from edged.identity.gallery import open_gallery
from edged.models.manifest import find_engine
from edged.sources.street import StreetSource
from edged.types import Pixels

PHOTOGRAPHS = Path(__file__).parents[3] / "shared" / "data" / "faces" / "lfw_dev"
SEED, WIDTH, HEIGHT, FPS, SECONDS = 5, 1920, 1080, 5.0, 16.0
MIDDLE = slice(8, 104)
"""Of 112 pixels: the face and a little around it."""


def has_engines() -> bool:
    try:
        return all(find_engine(name, config_dir=None, state_dir=None) for name in (FACE_DETECTOR, FACE_ENCODER))
    except ModelError:
        return False


pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not PHOTOGRAPHS.exists(), reason="needs the development data in ../shared"),
    pytest.mark.skipif(not has_engines(), reason=f"needs the engines {FACE_DETECTOR} and {FACE_ENCODER}"),
]


def load_people(n: int) -> list[list[Pixels]]:
    """The photographs of the first people of the validation set who have two at least."""
    files = defaultdict(list)
    with (PHOTOGRAPHS / "labels.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            if row["split"] == "val":
                files[row["identity"]].append(row["file"])
    chosen = [names[:2] for _, names in sorted(files.items()) if len(names) >= 2][:n]
    with tarfile.open(PHOTOGRAPHS / "images.tar") as archive:
        return [[decode(archive.extractfile(name).read()) for name in names] for names in chosen]


def decode(body: bytes) -> Pixels:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_replay_names_whom_the_encoder_knows_and_no_strangers(tmp_path):
    """One picture enrols, another one walks by: no stranger gets a name, nobody a wrong one.

    Whoever the encoder recognises in the photographs themselves is recognised on the street, too.
    """
    street = FacedStreet(StreetSource(seed=SEED, width=WIDTH, height=HEIGHT, fps=FPS, seconds=SECONDS, is_live=False))
    numbers = sorted({face.number for index in range(round(SECONDS * FPS)) for face in street.faces(index)})
    people = dict(zip(numbers, load_people(len(numbers)), strict=True))
    enrolled = numbers[::2]
    config = make_config(tmp_path)
    enrol(config, {number: people[number][0] for number in enrolled})
    known = known_from_near(config, {number: people[number] for number in enrolled})

    def paste(pixels: Pixels, number: int, box: tuple[int, int, int, int], *, live: bool) -> None:
        x1, y1, x2, y2 = box
        pixels[y1:y2, x1:x2] = cv2.resize(people[number][1][MIDDLE, MIDDLE], (x2 - x1, y2 - y1), interpolation=cv2.INTER_AREA)

    sink = ListeningSink()
    replay.Replay(config, "street", every_frame=True, start_at=0.0, sinks=[sink]).run(replace(street, paint=paste))

    judged = judge(street, sink.events, last=True)
    of_enrolled = Counter(one.answer[0] for one in judged if one.number in enrolled)
    of_strangers = Counter(one.answer[0] for one in judged if one.number not in enrolled)
    wrong = [one for one in judged if one.answer[0] == "match" and one.answer[1] != f"person {one.number}"]
    print(f"enrolled: {dict(of_enrolled)}; strangers: {dict(of_strangers)}; wrong names: {len(wrong)}; known: {len(known)}")
    assert wrong == []
    assert of_strangers["match"] == 0
    assert of_enrolled["match"] >= 2
    assert [one for one in judged if one.number in known and one.answer[0] != "match"] == []


def make_config(directory: Path) -> Config:
    text = {
        "state_dir": str(directory / "state"),
        "detector": {"engine": "detector-wide"},
        "faces": {"enabled": True, "liveness": None, "looks_per_s": 20},
        "cameras": {"street": {"source": f"street:{SEED}", "fps": FPS, "motion": {"enabled": False}}},
    }
    return parse_config(json.dumps(text), source="test", directory=directory)


def known_from_near(config: Config, photographs: dict[int, list[Pixels]]) -> set[int]:
    """Those whose two photographs the encoder takes for one person."""
    engines = find_face_engines(config)
    with open_face_reader(engines, config.faces, state_dir=config.state_dir).reader as reader:

        def embed(pixels: Pixels) -> np.ndarray:
            return reader.read(pixels, reader.find(pixels)[:1])[0].embedding

        scores = {number: float(embed(one) @ embed(other)) for number, (one, other) in photographs.items()}
    return {number for number, score in scores.items() if score >= engines.encoder[1].thresholds.match}


def enrol(config: Config, portraits: dict[int, Pixels]) -> None:
    with (
        open_face_reader(find_face_engines(config), config.faces, state_dir=config.state_dir).reader as reader,
        open_gallery(config.state_dir, find_gallery_key(config.state_dir)) as gallery,
        gallery.transaction(),
    ):
        for number, portrait in portraits.items():
            (face,) = reader.read(portrait, reader.find(portrait)[:1])
            person_id = gallery.add_person(f"person {number}", consent="public photographs", enrolled_at=0.0)
            gallery.add_template(person_id, face.embedding, model_digest=reader.model_digest)
