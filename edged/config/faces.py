"""The keys about faces."""

from __future__ import annotations

from edged.config.computing import ComputingConfig
from edged.config.values import Flag, Number, Text, Whole, default_of, setting
from edged.identity.decision import DecisionSettings
from edged.identity.track_identity import LookSettings

FACE_DETECTOR, FACE_ENCODER = "face-detector", "face-encoder"
"""The engines that ship."""


class FacesConfig(ComputingConfig):
    """Whose faces the persons show."""

    enabled: Flag = setting(False, "Whether faces are looked for. They are personal data: docs/faces.md.")
    detector: Text = setting(FACE_DETECTOR, "The network that finds faces: name of an engine, or path of its directory.")
    encoder: Text = setting(FACE_ENCODER, "The network that makes faces comparable; another one asks for enrolling anew.")
    liveness: Text | None = setting(
        None, "The network that tells a living face from a picture of one, such as face-liveness; null: nothing does."
    )
    looks_per_s: Number = setting(
        5.0, "Most looks at a person's face in a second, for all cameras together: what it may cost.", unit="1/s", ge=0.1, le=100
    )
    min_face_px: Whole = setting(20, "A face whose shorter side is smaller is not asked whose it is.", unit="px", ge=12, le=1000)
    min_quality: Number = setting(
        default_of(DecisionSettings, "least_quality"),
        "A face of less quality (size, frontality and sharpness in one number) is not asked whose it is.",
        unit="ratio",
        ge=0,
        lt=1,
    )
    votes: Whole = setting(
        default_of(DecisionSettings, "least_votes"), "Faces of one person that a name needs.", unit="count", ge=1, le=10
    )
    match: Number | None = setting(
        None,
        "Least cosine of a match; left out: what `edged faces calibrate` found for the enrolled people, else the encoder's own.",
        unit="ratio",
        gt=-1,
        lt=1,
    )
    margin: Number | None = setting(
        None, "How far the next person must be behind, as a cosine; the encoder's own if left out.", unit="ratio", ge=0, lt=2
    )
    live: Number | None = setting(
        None, "Least probability of a living face; the liveness network's own if left out.", unit="ratio", gt=0, lt=1
    )
    recheck_s: Number = setting(
        default_of(LookSettings, "recheck_s"),
        "An answered person is asked anew after this: somebody else may be there by now.",
        unit="s",
        ge=1,
        le=86_400,
    )
    keep_crops: Flag = setting(
        False, "Whether enrolment keeps the aligned faces, encrypted, for another encoder, where it is not told otherwise."
    )

    @property
    def networks(self) -> tuple[str, ...]:
        """The engines that are named."""
        return tuple(name for name in (self.detector, self.encoder, self.liveness) if name is not None)
