"""The schemas that ship, and the page that explains them, say what the code says (that they are current: test_config.py)."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from edged.events import wire
from edged.events.areas import Areas, ZoneAreas
from edged.events.counts import Counts, LineCount, ZoneCount
from edged.events.event import EventType
from edged.events.schema import AreasMessage, CameraStateMessage, CountersMessage, EventMessage

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "events.md").read_text(encoding="utf-8")
MODELS = {"event": EventMessage, "camera_state": CameraStateMessage, "counters": CountersMessage, "areas": AreasMessage}
EXAMPLES = re.findall(r"^```json (\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def make_validator(kind):
    schema = json.loads((DOCS / "schema" / f"{kind}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_schema_admits_a_full_event(full_event, full_stamp):
    """What we send is what we promise."""
    make_validator("event").validate(json.loads(wire.encode_event(full_event, full_stamp)))


def test_schema_admits_counters():
    """What we send is what we promise."""
    counts = Counts(lines={"gate": LineCount({"person": 3}, {})}, zones={"porch": ZoneCount({"person": 1}, {"person": 0})})

    body = wire.encode_counters(counts, device="gate", camera="door", epoch="0123456789ab", at=0.0)

    make_validator("counters").validate(json.loads(body))


def test_schema_admits_areas():
    """What we send is what we promise, also of a camera that is gone."""
    areas = Areas(
        captured_s=0.0, model="5" * 64, picture={"road": 1.0}, zones={"porch": ZoneAreas({"road": 1.0}, True, ("van",))}
    )
    facts = {"device": "gate", "camera": "door", "epoch": "0123456789ab", "at": 0.0, "captured_at": lambda captured_s: captured_s}

    for each in (areas, None):
        make_validator("areas").validate(json.loads(wire.encode_areas(each, **facts)))


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        pytest.param("event", "seq", -1, id="negative number"),
        pytest.param("event", "type", "zone.wait", id="unknown type"),
        pytest.param("event", "captured_at", "2026-11-20 21:30", id="other form of time"),
        pytest.param("event", "schema_version", 2, id="other version"),
        pytest.param("camera_state", "state", "asleep", id="unknown state"),
        pytest.param("camera_state", "cause", "unplugged", id="unknown cause"),
        pytest.param("camera_state", "scene", "moved", id="unknown verdict"),
        pytest.param("areas", "picture", {"road": 1.1}, id="more than all"),
        pytest.param("areas", "zones", {"porch": {"blocked": True}}, id="half a zone"),
        pytest.param("counters", "lines", {"gate": {"in": {}}}, id="half a line"),
    ],
)
def test_schema_refuses_a_wrong_message(kind, field, value):
    """A schema that lets everything pass would prove nothing."""
    example = json.loads(next(text for name, text in EXAMPLES if name == kind))

    errors = list(make_validator(kind).iter_errors(example | {field: value}))

    assert errors


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_page_example_fits_its_schema_and_has_no_unknown_field(kind, text):
    """An example can be taken at its word."""
    example = json.loads(text)

    make_validator(kind).validate(example)
    again = MODELS[kind].model_validate_json(text).model_dump(by_alias=True, exclude_none=True, mode="json")

    assert again == example


def test_page_has_an_example_of_every_message():
    """Nothing is left to guess."""
    assert {kind for kind, _ in EXAMPLES} == set(MODELS)


@pytest.mark.parametrize("type", list(EventType))
def test_page_explains_every_type_of_event(type):
    """Each type has its row."""
    assert f"| `{type.value}` |" in PAGE


@pytest.mark.parametrize(
    ("is_known", "expected"),
    [
        pytest.param(True, {"Cycle path blocked": "ON", "Road seen": "41.0"}, id="as told"),
        pytest.param(False, {"Cycle path blocked": "None", "Road seen": "None"}, id="nothing is known"),
    ],
)
def test_templates_for_home_assistant_say_of_areas_what_the_message_says(is_known, expected):
    """None is unknown there; a way of which nothing is known is not free."""
    jinja2 = pytest.importorskip("jinja2")
    site = yaml.safe_load(re.findall(r"^```yaml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)[-1])
    message = json.loads(dict(EXAMPLES)["areas"])
    if not is_known:
        gone = wire.encode_areas(None, device="gate", camera="door", epoch="3f9c0a1b2c4d", at=0.0, captured_at=float)
        message = json.loads(gone)

    sensors = [each for kind in site["mqtt"].values() for each in kind if each["state_topic"].endswith("/areas")]

    assert {each["name"]: jinja2.Template(each["value_template"]).render(value_json=message) for each in sensors} == expected
