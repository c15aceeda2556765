"""Enrichment: what `keen.addons` asks for, done to one event."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import combinations, product
from operator import eq
from typing import Any, NamedTuple

import orjson

from headwater.rules import RuleError, check_property_name
from headwater.settings import Settings
from processors.addons import ADDONS, AddonError
from processors.addons.addon import Found, LookUp
from processors.shapes import Shape

PLANS = 1_000  # distinct texts of keen.addons to remember
PLAN_TEXT_MAX = 8_192  # characters; a longer text is read anew each time
RESULT_DEPTH = 2  # levels that an add-on's result adds under its output

Path = tuple[str, ...]
Properties = dict[str, Any]


Outputs = tuple[str, ...]  # dotted paths
Shapes = tuple[Shape | None, ...]  # of what is at each of the outputs; None where nothing is


class Place(NamedTuple):
    """A path: the object that holds what is there, and its name in that."""

    above: Path
    name: str

    @property
    def path(self) -> Path:
        """The whole path."""
        return (*self.above, self.name)


class Step(NamedTuple):
    """One add-on as an event asks for it."""

    name: str
    look_up: LookUp
    subject: Place
    others: tuple[Place, ...]
    output: Place


class Plan(NamedTuple):
    """What a text of keen.addons asks for: the steps in order, and the properties to delete at the end.

    `apart` says that nothing but its own step has to do with what is at an output, and has the steps as `_put_apart` takes
    them then. `outputs` are their dotted paths.
    """

    steps: tuple[Step, ...]
    removals: tuple[Place, ...]
    outputs: Outputs
    apart: "tuple[Apart, ...] | None"


Apart = tuple[LookUp | None, Path, str, Path, str, Step]
"""A step in plain tuples, which are taken apart in a quarter of the time: the look-up, None where it wants more than one value;
above and name of its subject and of its output; the step."""


Own = tuple[int | None, int | None, bytes | None]  # timestamp, received_at, id of an event

Added = tuple[Outputs, Shapes]
"""What add-ons put into an event, where that is known."""

NOTHING_ADDED: Added = (), ()


class Enricher:
    """Runs add-ons on events. Pure but for its caches and the databases that it reads; for one thread."""

    def __init__(self, settings: Settings) -> None:
        """Load every add-on: some 50 MB, and half a second. Raises SettingsError for a database that cannot be used."""
        self._look_up: dict[str, LookUp] = {name: addon.load(settings) for name, addon in ADDONS.items()}
        self._depth_max = settings.event_max_depth
        self._kept_plan: Callable[[str], Plan] = lru_cache(PLANS)(self._plan)

    def enrich(
        self,
        properties: Properties,
        addons: str,
        timestamp: int | None = None,
        received_at: int | None = None,
        event_id: bytes | None = None,
    ) -> Added:
        """Run the add-ons on `properties`, as parsed from JSON, in their order, and put in place what they find.

        `addons` is the JSON text of `keen.addons` (the field of raw_event); the other arguments are what the paths
        `keen.timestamp`, `keen.created_at` (both in milliseconds) and `keen.id` stand for. Each output is merged into the
        object at its path, made where there is none. The value of an input that is missing, null or no string gives no
        output.

        Says what was added where nothing was at the outputs before, as nearly always: the results are then
        `orjson.Fragment`s, of no use but to orjson.dumps. Else NOTHING_ADDED, and all is plain objects. Raises AddonError
        for what can never work: an unknown add-on, a missing input or output, an output under `keen` or at a property that
        is no object. The properties are then half changed and must not be used.
        """
        plan = self._kept_plan(addons) if len(addons) <= PLAN_TEXT_MAX else self._plan(addons)
        own = timestamp, received_at, event_id
        added = None if plan.apart is None else _put_apart(properties, plan.apart, plan.outputs, own)
        if added is None:
            for step in plan.steps:
                _merge_at(properties, step, _find(properties, step, own))
        for place in plan.removals:
            _remove(properties, place)
        return NOTHING_ADDED if added is None else added

    def _plan(self, addons: str) -> Plan:
        """Read and check a text of keen.addons. Raises AddonError."""
        try:
            asked = orjson.loads(addons)
        except orjson.JSONDecodeError as error:
            raise AddonError("keen.addons", f"not JSON: {error}") from None
        if not isinstance(asked, list):
            raise AddonError("keen.addons", "not a list: it must be a list of objects with name, input and output")
        steps: list[Step] = []
        removals: list[Place] = []
        for position, item in enumerate(asked):
            if not isinstance(item, dict) or not isinstance(item.get("name"), str):
                raise AddonError(f"keen.addons[{position}]", "not an object with name, input and output")
            name = item["name"]
            if name not in ADDONS:
                raise AddonError(name, f"no such add-on: there are {', '.join(sorted(ADDONS))}")
            addon = ADDONS[name]
            given = item.get("input")
            if not isinstance(given, dict):
                raise AddonError(name, "input is not an object")
            inputs = {field.name: _place(_input_path(name, field.name, given)) for field in addon.inputs}
            output = _place(self._output_path(name, item.get("output")))
            subject, *others = inputs.values()
            steps.append(Step(name, self._look_up[name], subject, tuple(others), output))
            if addon.removal is not None and given.get(addon.removal.name) is True:
                removals.append(inputs[addon.removal.input])
        outputs = [step.output.path for step in steps]
        removed = [place.path for place in removals]
        read = [place.path for step in steps for place in (step.subject, *step.others)]
        apart = not any(
            [_overlap(*two) for two in combinations(outputs + removed, 2)]
            + [_overlap(*two) for two in product(outputs, read)]
        )
        return Plan(
            tuple(steps),
            tuple(removals),
            tuple(map(".".join, outputs)),
            tuple((None if s.others else s.look_up, *s.subject, *s.output, s) for s in steps) if apart else None,
        )

    def _output_path(self, name: str, output: object) -> Path:
        if not isinstance(output, str) or not output:
            raise AddonError(name, "output is missing: it names the property that takes the results")
        path = tuple(output.split("."))
        if path[0] == "keen":
            raise AddonError(name, f"output {output[:100]} is under keen, which is reserved")
        if len(path) + RESULT_DEPTH > self._depth_max:
            raise AddonError(name, f"output has {len(path)} levels: an event may have {self._depth_max}")
        try:
            for part in path:
                check_property_name(part)
        except RuleError as error:
            raise AddonError(name, f"output {output[:100]}: {error.description}") from None
        return path


def _input_path(name: str, field: str, given: Properties) -> Path:
    path = given.get(field)
    if not isinstance(path, str) or not path:
        raise AddonError(name, f"input.{field} is missing: it names the property whose value is taken")
    return tuple(path.split("."))


def _value(properties: Properties, path: Path) -> object:
    """The value at the path; None where there is none."""
    value: object = properties
    for part in path:
        if type(value) is not dict:
            return None
        value = value.get(part)
    return value


def _place(path: Path) -> Place:
    return Place(path[:-1], path[-1])


def _put_apart(properties: Properties, steps: Sequence[Apart], outputs: Outputs, own: Own) -> Added | None:
    """Do the steps of a plan that are apart where nothing is at their outputs; else None: they are still to be done."""
    shapes: list[Shape | None] = []
    for look_up, above, name, output_above, output_name, step in steps:
        here: Any = _value(properties, above) if above else properties
        value = here.get(name) if type(here) is dict else None
        found = look_up(value) if type(value) is str and look_up is not None else _find(properties, step, own)
        if output_above != above:
            here = _value(properties, output_above) if output_above else properties
        if type(here) is dict:
            if output_name in here:
                _take_back(properties, steps, shapes)
                return None
        elif found is not None:
            here = _holder(properties, step)
        if found is None:
            shapes.append(None)
        else:
            here[output_name] = found.fragment
            shapes.append(found.shape)
    return outputs, tuple(shapes)


def _take_back(properties: Properties, steps: Sequence[Apart], shapes: Sequence[Shape | None]) -> None:
    """Remove what the first steps have put, as many as have shapes."""
    for (*_, step), shape in zip(steps, shapes, strict=False):
        if shape is not None:
            _remove(properties, step.output)


def _find(properties: Properties, step: Step, own: Own) -> Found | None:
    """The result of one add-on; None where its input has no value that it could take."""
    value = _at(properties, step.subject)
    if value is None and step.subject.path[0] == "keen":
        value = _envelope(step.subject.path, *own)
    if type(value) is not str:
        return None
    more = [_at(properties, place) for place in step.others]
    return step.look_up(value, *[other if type(other) is str else None for other in more])


def _envelope(path: Path, timestamp: int | None, received_at: int | None, event_id: bytes | None) -> str | None:
    """What the event's own fields have for a path under `keen`."""
    match path:
        case ("keen", "id"):
            return None if event_id is None else event_id.decode()
        case ("keen", "timestamp"):
            at = timestamp
        case ("keen", "created_at"):
            at = received_at
        case _:
            at = None
    if at is None:
        return None
    return datetime.fromtimestamp(at / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _at(properties: Properties, place: Place) -> object:
    """The value at a place; None where there is none."""
    return _value(properties, place.path)


def _holder(properties: Properties, step: Step) -> Properties:
    """The object above the step's output, made where there is none. Raises AddonError."""
    here = properties
    for part in step.output.above:
        below = here.get(part)
        if below is None:
            below = here[part] = {}
        elif type(below) is not dict:
            raise _no_object(step, part)
        here = below
    return here


def _merge_at(properties: Properties, step: Step, found: Found | None) -> None:
    """Merge a result into what is at the step's output. Raises AddonError."""
    if found is None:
        return
    here, last = _holder(properties, step), step.output.name
    target = here.get(last)
    if target is None:
        here[last] = found.copy()
    elif type(target) is dict:
        _merge(target, found.copy())
    else:
        raise _no_object(step, last)


def _no_object(step: Step, part: str) -> AddonError:
    return AddonError(
        step.name, f"output {'.'.join(step.output.path)[:200]}: the event's {part[:100]} is not an object"
    )


def _merge(target: Properties, values: Properties) -> None:
    """Move the values into the target: objects are merged, and otherwise the value that was found wins."""
    for key, value in values.items():
        existing = target.get(key)
        if type(existing) is dict and type(value) is dict:
            existing.update(value)
        else:
            target[key] = value


def _overlap(one: Path, other: Path) -> bool:
    """Whether one of two paths is, holds or is within the other."""
    return all(map(eq, one, other))


def _remove(properties: Properties, place: Place) -> None:
    holder = _value(properties, place.above)
    if isinstance(holder, dict):
        holder.pop(place.name, None)
