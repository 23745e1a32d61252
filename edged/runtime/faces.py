"""The slow loop: whose faces the persons show, beside the fast loop and never in its way.

Between the fast loop and this one: one job a camera, the newest; an older one that nobody has taken is replaced, counted, and its
picture let go. Back go the answers, which the fast loop takes before its next frame.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edged.identity.decision import Yardstick
from edged.identity.track_identity import LookPlan, LookSettings, TrackIdentity
from edged.pipeline import FrameResult, Identified, StageTimer, has_pixels
from edged.runtime.board import LatestFrame
from edged.runtime.loop import Loop
from edged.runtime.pacing import Allowance
from edged.types import Face, FaceDecision, Frame, Track, TrackState
from edged.vision.boxes import scaled
from edged.vision.heads import face_region, head_point

if TYPE_CHECKING:
    from edged.face_reading import FaceReader

logger = logging.getLogger(__name__)

POLL_S = 0.5
"""How often another gallery is asked for: who is forgotten or expires is named for so long at most."""

DETAIL_TOLERANCE_S = 0.25
"""A main stream's picture this far from the analysed one still shows a face about where its person was."""

LEAVING_S = 0.5
"""A track that is lost for so long is about to end."""


@dataclass(frozen=True, slots=True, eq=False)
class _Person:
    """A track in the picture that is looked at: its box (4,) in that picture's pixels, and how much of its height that takes."""

    number: int
    box: NDArray[np.float32]
    height_ratio: float


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """One moment of one camera: the frame that was analysed, the picture to look at, every person in it."""

    frame: Frame
    picture: Frame
    people: tuple[_Person, ...]


@dataclass(slots=True, eq=False)
class _Watched:
    """One track that is watched.

    Attributes:
        identity, newest: the slow loop's alone. `newest` is the frame of the newest look, as it was analysed, without its pixels.
        plan: when a look is worth it; written by the slow loop, as a whole.
        seen_s: when a detection last matched it, or a still frame held it; this and the following are the fast loop's to write.
        began_s: nothing from before this moment counts: it was found again then.
        is_leaving: lost for so long that it will hardly be found again.
    """

    identity: TrackIdentity
    plan: LookPlan
    seen_s: float
    began_s: float = float("-inf")
    is_leaving: bool = False
    newest: _Moment | None = None
    restarted_s: float = float("-inf")

    def is_due(self, *, now_s: float, height_ratio: float) -> bool:
        """Whether a look is worth its cost now."""
        return self.began_s > self.restarted_s or self.plan.is_due(now_s=now_s, height_ratio=height_ratio)

    def catch_up(self) -> None:
        """Begin anew where it was found again since; for the slow loop."""
        if self.began_s > self.restarted_s:
            self.restarted_s = self.began_s
            self.identity.restart()
            self.plan = self.identity.plan


@dataclass(slots=True, eq=False)
class _Look:
    """One look at a person: the face that it found, read if it is good enough; None: no face."""

    person: _Person
    one: _Watched
    face: Face | None


@dataclass(frozen=True, slots=True)
class _Moment:
    """What an answer says of the frame that it comes from."""

    captured_s: float
    seq: int
    width: int
    height: int


class FaceWatch:
    """Looks at the faces of tracked persons: `put` and `take` are for the fast loop, `work` and `run` for the slow one.

    In a replay one thread calls `put`, `work` and `take` in turn, and every run gives the same answers.

    What both share is held for moments only: neither a network nor a search through the gallery runs meanwhile.

    Args:
        cameras: those whose faces are looked at.
        person_class_id: the class that has faces.
        looks: when a track is looked at.
        looks_per_s: the budget, for all cameras together; it is saved up for one second, or for one look, at most.
        least_face_px: a face with a shorter side below this is not read, pixels of the picture that is looked at.
        details: newest frame of the main stream of cameras that detect on a smaller one; faces are looked for in it.
        now_s: measures how long the stages take, monotonic seconds.
        on_answer: called by the slow loop when `take` has something to give.
    """

    def __init__(
        self,
        *,
        cameras: Collection[str],
        person_class_id: int,
        looks: LookSettings,
        looks_per_s: float,
        least_face_px: float,
        details: Mapping[str, LatestFrame],
        now_s: Callable[[], float],
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._person_class_id = person_class_id
        self._looks = looks
        self._budget = Allowance(looks_per_s, burst=max(1.0, looks_per_s))
        self._least_face_px = least_face_px
        self._details = details
        self._now_s = now_s
        self._on_answer = on_answer
        self._yardstick: Yardstick | None = None
        self._ready = threading.Condition()
        self._jobs: dict[str, _Job] = {}  # in order of waiting
        self._watched: dict[str, dict[int, _Watched]] = {camera: {} for camera in cameras}
        self.cameras = tuple(cameras)
        self._answers: list[Identified] = []
        self.n_looks = self.n_read = self.n_replaced = 0

    def put(self, result: FrameResult) -> None:
        """Offer a result; never blocks for longer than it takes to note it."""
        camera = result.frame.camera
        if camera not in self._watched:
            return
        persons = [track for track in result.tracks.live if track.class_id == self._person_class_id and track.number]
        with self._ready:
            is_worth_a_look = self._follow(persons, result.frame)
            if is_worth_a_look:
                if camera in self._jobs:
                    self.n_replaced += 1
                self._jobs[camera] = self._make_job(persons, result.frame)
                self._ready.notify()

    def take(self) -> list[Identified]:
        """The answers since the last call."""
        with self._ready:
            answers, self._answers = self._answers, []
        return answers

    def drop(self, camera: str) -> None:
        """Forget everything about a camera's faces: its objects have ended."""
        with self._ready:
            self._jobs.pop(camera, None)
            if camera in self._watched:
                self._watched[camera].clear()

    def run(self, loop: Loop, reader: FaceReader, load_yardstick: Callable[[], Yardstick]) -> None:
        """Work until the loop is asked to stop.

        Args:
            reader, load_yardstick: as `work` needs them; the newest one is loaded often, so cheap where nothing has changed.

        Raises:
            InferenceError: a network failed.
        """
        while not loop.stopping:
            loop.beat()
            with self._ready:
                self._ready.wait_for(lambda: self._jobs, POLL_S)
            self.work(reader, load_yardstick())
        logger.info("faces: looks=%d read=%d pictures_replaced=%d", self.n_looks, self.n_read, self.n_replaced)

    def work(self, reader: FaceReader, yardstick: Yardstick) -> None:
        """One turn: follow the gallery, close what is about to end, look at the camera that waits longest.

        Args:
            reader: used by the thread that calls this alone.
            yardstick: what faces are held against now.

        Raises:
            InferenceError: a network failed.
        """
        with self._ready:
            everybody = [(camera, number, one) for camera, tracks in self._watched.items() for number, one in tracks.items()]
            job, wanted = self._next_job()
        self._follow_gallery(everybody, yardstick)
        self._conclude_leaving(everybody, yardstick)
        if job is not None and wanted and has_pixels(job.picture):
            timer = StageTimer(self._now_s)
            faces = self._look(job, wanted, reader, least_quality=yardstick.settings.least_quality, timer=timer)
            self._note(job, faces, yardstick, timer)
        if self._answers:
            self._on_answer()

    def _follow(self, persons: list[Track], frame: Frame) -> bool:
        """Keep up with the tracks of one camera; whether one of them is worth a look in this frame."""
        watched = self._watched[frame.camera]
        for number in watched.keys() - {track.number for track in persons}:
            del watched[number]
        is_worth_a_look = False
        for track in persons:
            one = watched.get(track.number)
            if one is None:
                one = watched[track.number] = _Watched(TrackIdentity(self._looks), LookPlan(), track.seen_s)
            unseen_s, one.seen_s = frame.captured_s - one.seen_s, track.seen_s
            one.is_leaving = track.state is TrackState.LOST and frame.captured_s - track.seen_s >= LEAVING_S
            if not track.is_detected:
                continue
            if unseen_s >= self._looks.refound_s:
                one.began_s = frame.captured_s
            is_worth_a_look |= one.is_due(now_s=frame.captured_s, height_ratio=_height_ratio(track, frame))
        return is_worth_a_look

    def _make_job(self, persons: list[Track], frame: Frame) -> _Job:
        detail = self._details.get(frame.camera)
        picture = (detail.near(frame.captured_s, tolerance_s=DETAIL_TOLERANCE_S) if detail else None) or frame
        boxes = scaled(np.stack([track.box for track in persons]), (frame.width, frame.height), (picture.width, picture.height))
        seen = [
            _Person(track.number, box, _height_ratio(track, frame))
            for track, box in zip(persons, boxes, strict=True)
            if track.is_detected
        ]
        return _Job(frame, picture, tuple(seen))

    def _follow_gallery(self, everybody: list[tuple[str, int, _Watched]], yardstick: Yardstick) -> None:
        """Where the gallery has changed, every answer is asked for again, from the faces that were read."""
        before, self._yardstick = self._yardstick, yardstick
        if before is not None and yardstick is not before:
            for camera, number, one in everybody:
                self._answer(camera, number, one, one.identity.reconsider(yardstick), {})

    def _conclude_leaving(self, everybody: list[tuple[str, int, _Watched]], yardstick: Yardstick) -> None:
        for camera, number, one in everybody:
            if one.is_leaving:
                self._answer(camera, number, one, one.identity.conclude(yardstick), {})

    def _next_job(self) -> tuple[_Job | None, list[tuple[_Person, _Watched]]]:
        """The job of the camera that waits longest, and who is to be looked at: without an answer first, then least tried,
        then largest."""
        if not self._jobs:
            return None, []
        camera = next(iter(self._jobs))
        job = self._jobs.pop(camera)
        ranked = []
        for person in job.people:
            one = self._watched[camera].get(person.number)
            if one is not None and one.is_due(now_s=job.frame.captured_s, height_ratio=person.height_ratio):
                one.catch_up()
                rank = one.identity.has_answer, one.identity.tries, -person.height_ratio, person.number
                ranked.append((rank, person, one))
        return job, [(person, one) for _, person, one in sorted(ranked, key=lambda each: each[0])]

    def _look(
        self,
        job: _Job,
        wanted: list[tuple[_Person, _Watched]],
        reader: FaceReader,
        *,
        least_quality: float,
        timer: StageTimer,
    ) -> list[_Look]:
        """Find the faces of who is wanted, as far as the budget goes, and read those that are good enough, the best first."""
        pixels_rgb = job.picture.pixels_rgb
        found: list[_Look] = []
        for person, one in wanted:
            if not self._budget.take(job.frame.captured_s):
                break
            self.n_looks += 1
            found.append(_Look(person, one, _face_of(person, job.people, reader.find(pixels_rgb, face_region(person.box)))))
        timer.end("find")
        good = [(look, look.face) for look in found if look.face is not None and self._is_readable(look.face, least_quality)]
        good.sort(key=lambda each: -each[1].quality)
        read = reader.read(pixels_rgb, [face for _, face in good]) if good else []
        for (look, _), face in zip(good, read, strict=True):
            look.face = face
        self.n_read += len(read)
        timer.end("read")
        return found

    def _is_readable(self, face: Face, least_quality: float) -> bool:
        side_px = float(min(face.box[2] - face.box[0], face.box[3] - face.box[1]))
        return side_px >= self._least_face_px and face.quality >= least_quality

    def _note(self, job: _Job, looks: list[_Look], yardstick: Yardstick, timer: StageTimer) -> None:
        frame = job.frame
        for look in looks:
            person, one = look.person, look.one
            if frame.captured_s < one.began_s:
                continue
            if look.face is None:
                one.identity.miss(now_s=frame.captured_s)
            else:
                one.newest = _Moment(frame.captured_s, frame.seq, frame.width, frame.height)
                decision = one.identity.add(look.face, yardstick, now_s=frame.captured_s, height_ratio=person.height_ratio)
                self._answer(frame.camera, person.number, one, decision, timer.stages_ms)
            one.plan = one.identity.plan

    def _answer(
        self, camera: str, number: int, one: _Watched, decision: FaceDecision | None, stages_ms: Mapping[str, float]
    ) -> None:
        if decision is None or one.newest is None:
            return
        answer = Identified(
            camera=camera,
            number=number,
            decision=decision,
            captured_s=one.newest.captured_s,
            frame_seq=one.newest.seq,
            width=one.newest.width,
            height=one.newest.height,
            stages_ms=dict(stages_ms),
        )
        with self._ready:
            self._answers.append(answer)


def _face_of(person: _Person, people: tuple[_Person, ...], faces: list[Face]) -> Face | None:
    """The face that belongs to a person: the nearest to where their head should be, and to nobody else's head nearer."""
    own = [(_distance(person, face), face) for face in faces if _nearest(people, face) is person]
    return min(own, key=lambda each: each[0])[1] if own else None


def _nearest(people: tuple[_Person, ...], face: Face) -> _Person:
    return min(people, key=lambda person: _distance(person, face))


def _distance(person: _Person, face: Face) -> float:
    """How far a face's middle is from where the head should be, in heights of the person's box."""
    x, y = head_point(person.box)
    middle_x, middle_y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    return float(np.hypot(middle_x - x, middle_y - y)) / max(1.0, float(person.box[3] - person.box[1]))


def _height_ratio(track: Track, frame: Frame) -> float:
    return float(track.box[3] - track.box[1]) / frame.height
