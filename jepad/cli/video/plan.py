"""`jepactl plan`: actions that lead to a picture, found by a model that imagines what they do.

Owns: the walk in a world that ships, one plan between two pictures, both in words, JSON and PNG.
Does not know: how a plan is found, who runs the model.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from jepad.cli import output
from jepad.cli.progress import Bar
from jepad.cli.video import scenes, shelf
from jepad.cli.video.scenes import Found, Quest, Scene
from jepad.errors import NotFound, SettingError
from jepad.models import library
from jepad.planning import toy
from jepad.vision import picture
from jepad.vision.decode import picture as read_picture
from jepad.vision.preprocess import SQUARE, bilinear, centre_box

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
POINTS = 21  # a side of the landscape
SEARCH = ("samples", "elites", "iterations", "horizon")
#: Grey levels between a picture and what the world would show: more is no picture of it.
FOREIGN = 8.0
#: Curves that are told apart on the sheet.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Step:
    """One action taken."""

    action: tuple[float, ...]
    names: tuple[str, ...]
    energies: tuple[float, ...]  # the lowest of each iteration of its search
    state: tuple[float, ...]  # after it
    distance: float  # from there to the goal


@dataclass(frozen=True, slots=True)
class Walk:
    """From the start as far as it went."""

    start: Floats
    goal: Floats
    steps: Sequence[Step]
    landscape: scenes.Landscape | None  # of the first action

    @property
    def distance(self) -> float:
        """What is left."""
        if self.steps:
            return self.steps[-1].distance
        return float(toy.distance(self.start, self.goal))

    @property
    def reached(self) -> bool:
        """Whether that counts as being there."""
        return self.distance <= toy.ARRIVED


def run(options: Namespace) -> int:
    """The verb: a walk in the world that ships, or one plan for another model."""
    name = options.model or library.TOY
    if name == library.TOY or options.environment:
        return _walked(options, name)
    for flag in ("start", "goal"):
        if getattr(options, flag) is None:
            raise SettingError(f"a plan of {name} wants --{flag} IMAGE")
    return _planned(options, name)


def _walked(options: Namespace, name: str) -> int:
    if options.state:
        raise SettingError("--state is of a robot; in the toy world --start IMAGE tells it")
    known = shelf.find(options.bus, name).manifest.story
    start, goal = ends = _ends(options, known)
    with scenes.opened(options.bus, name) as scene, Bar() as bar:
        search = _search(options, known)
        walk = _walk(scene, ends, search, (options, bar))
        about = scene.about
    if options.out:
        picture.write(options.out, _walk_sheet(walk))
    if options.json:
        output.say_json({
            "environment": library.TOY, "model": about.name, "digest": about.digest,
            "random": about.random,
            "device": about.device, "where": about.where, "search": search,
            "start": start.tolist(), "goal": goal.tolist(),
            "steps": [asdict(step) for step in walk.steps], "reached": walk.reached,
            "distance": walk.distance, "arrived": toy.ARRIVED, "out": options.out,
            "landscape": _landscape_json(walk.landscape),
        })  # fmt: skip
    else:
        _show_walk(walk, options.out)
    return 0 if walk.reached else 1


def _walk(
    scene: Scene, ends: tuple[Floats, Floats], search: dict[str, int], told: tuple[Namespace, Bar]
) -> Walk:
    """Plan, take the first action, look again; until it is there or has gone far enough.

    The planner is shown pictures; where the goal is on its own only tells when to stop."""
    (start, goal), (options, bar) = ends, told
    wanted = read_picture(options.goal) if options.goal else toy.render(goal)
    state, landscape = start, None
    steps: list[Step] = []
    left = float(toy.distance(start, goal))
    while left > toy.ARRIVED and len(steps) < options.steps:
        done = len(steps)
        points = POINTS if options.out and not done else 0
        quest = Quest(
            toy.render(state)[None], wanted[None], state.tolist(),
            options.bounds or library.TOY,
            search | {"seed": options.seed + done, "landscape": points},
        )  # fmt: skip
        words = f"step {done + 1}: {left:.2f} to go"
        found = scene.plan(quest, partial(_drawn, bar, options.steps, (done, words)))
        landscape = landscape or found.landscape
        state = toy.step(state, found.action)
        left = float(toy.distance(state, goal))
        steps.append(Step(found.action, found.names, found.energies, tuple(state.tolist()), left))
    return Walk(start, goal, steps, landscape)


def _drawn(bar: Bar, total: int, step: tuple[int, str], share: float, words: str) -> None:
    done, left = step
    bar.show(done + share, total, f"{left}, {words}")


def _ends(options: Namespace, known: Any) -> tuple[Floats, Floats]:
    """Start and goal as states: where the disc is on a picture, or what ships, or drawn."""
    if options.goal:
        goal = _located(options.goal)
    else:
        goal = np.array(known.get("goal", (0.5, 0.5)), np.float32)
    if options.start:
        return _located(options.start), goal
    random = np.random.default_rng(options.seed)
    return toy.random_states(1, random)[0], goal


def _located(path: str) -> Floats:
    """The state that a picture of the toy world shows. SettingError: it shows none."""
    pixels = read_picture(path)
    box = centre_box(pixels.shape[0], pixels.shape[1], SQUARE)
    square = pixels[box.top : box.top + box.height, box.left : box.left + box.width]
    seen = bilinear(square[None], toy.SIDE, toy.SIDE)[0].astype(np.int16)
    best, reach = np.zeros(2, np.float32), 1.0
    while reach > 1e-3:  # each time a third as far around the best so far
        line = np.linspace(-reach, reach, 9)
        grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
        states = np.clip(best + grid, -1, 1).astype(np.float32)
        apart = np.abs(toy.render(states) - seen).mean((1, 2, 3))
        best, reach = states[apart.argmin()], reach / 3
    if apart.min() > FOREIGN:
        raise SettingError(f"{path}: no picture of the toy world (a disc on a dark square)")
    return best


def _search(options: Namespace, known: Any) -> dict[str, int]:
    """The model's own settings where nothing else was asked for."""
    usual = {key: int(value) for key, value in known.get("search", {}).items() if key in SEARCH}
    asked = {key: getattr(options, key) for key in SEARCH if getattr(options, key, None)}
    return usual | asked


def _planned(options: Namespace, name: str) -> int:
    """One plan between two pictures; it is not carried out, for there is no robot here."""
    start, goal = read_picture(options.start), read_picture(options.goal)
    with scenes.opened(options.bus, name) as scene, Bar() as bar:
        about = scene.about
        if not about.states:
            raise NotFound(f"{name} was never shown an action: a 2-AC model can plan")
        state = _state(options.state, about.states)
        search = _search(options, {})
        points = {"seed": options.seed, "landscape": POINTS if options.out else 0}
        quest = Quest(start[None], goal[None], state, options.bounds or "", search | points)
        found = scene.plan(quest, lambda share, words: bar.show(share, 1, words))
    if options.out:
        above = [picture.Shown("start", start), picture.Shown("goal", goal)]
        picture.write(options.out, picture.sheet([above, _searched(found)]))
    if options.json:
        output.say_json({
            "environment": None, "model": about.name, "digest": about.digest,
            "random": about.random,
            "device": about.device, "where": about.where, "search": search, "state": state,
            "action": found.action, "names": found.names, "energies": found.energies,
            "out": options.out, "landscape": _landscape_json(found.landscape),
        })  # fmt: skip
        return 0
    rows = [("AXIS", "ACTION")]
    rows += [(n, f"{a:.4f}") for n, a in zip(found.names, found.action, strict=True)]
    for line in output.table(rows):
        output.say(line)
    first, last = found.energies[0], found.energies[-1]
    kept = f"; {options.out}" if options.out else ""
    output.say(f"energy {first:.4g}, after the search {last:.4g}{kept}. Nothing was done.")
    if about.random:
        output.note("its weights are random: the plan means nothing")
    return 0


def _state(text: str | None, count: int) -> list[float]:
    """Numbers with commas; zeros where none are given."""
    if text is None:
        return [0.0] * count
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise SettingError(f"--state {text}: this model's state is {count} numbers with commas")
    return numbers


def _show_walk(walk: Walk, out: str | None) -> None:
    if walk.steps:
        names = [name.upper() for name in walk.steps[0].names]
        rows = [("STEP", *names, "ENERGY", "DISTANCE")]
        for n, step in enumerate(walk.steps, 1):
            moves = (f"{value:+.3f}" for value in step.action)
            rows.append((str(n), *moves, f"{step.energies[-1]:.4g}", f"{step.distance:.3f}"))
        for line in output.table(rows, left=0):
            output.say(line)
    word = "reached" if walk.reached else "did not reach"
    kept = f"; {out}" if out else ""
    output.say(
        f"{word} the goal in {len(walk.steps)} steps: {walk.distance:.3f} away"
        f" ({toy.ARRIVED:.2f} or less is there){kept}"
    )


def _walk_sheet(walk: Walk) -> Picture:
    places = [walk.start, *(np.array(step.state) for step in walk.steps)]
    path = [_pixel(place) for place in places]
    above: list[picture.Panel] = [
        picture.Shown("start, the way, the goal", toy.render(walk.start), path, _pixel(walk.goal)),
        picture.Shown("goal", toy.render(walk.goal)),
        picture.Shown("end", toy.render(places[-1])),
    ]
    distances = [float(toy.distance(place, walk.goal)) for place in places]
    lines = [(f"step {n}", step.energies) for n, step in enumerate(walk.steps, 1)][:SHOWN]
    below: list[picture.Panel] = [
        picture.Curves("lowest energy of each iteration", "iteration", lines),
        picture.Curves("distance to the goal", "step", [("", distances)]),
    ]
    if walk.landscape is not None:
        below.insert(0, _mapped(walk.landscape, walk.steps[0].action, walk.steps[0].names))
    return picture.sheet([above, below])


def _searched(found: Found) -> list[picture.Panel]:
    """The panels of one plan."""
    line = ("lowest", found.energies)
    out: list[picture.Panel] = [picture.Curves("energy of each iteration", "iteration", [line])]
    if found.landscape is not None:
        out.insert(0, _mapped(found.landscape, found.action, found.names))
    return out


def _mapped(
    seen: scenes.Landscape, action: Sequence[float], names: Sequence[str]
) -> picture.Landscape:
    """Its second axis goes up; the cross is the action chosen."""
    chosen = dict(zip(names, action, strict=True))
    mark = (chosen[seen.axes[0]], chosen[seen.axes[1]])
    title = "energy of the first action"
    return picture.Landscape(title, seen.energies.T, seen.axes, seen.low, seen.high, mark)


def _landscape_json(seen: scenes.Landscape | None) -> dict[str, Any] | None:
    return None if seen is None else {**asdict(seen), "energies": seen.energies.tolist()}


def _pixel(state: npt.ArrayLike) -> tuple[float, float]:
    """Where the disc's centre is on the picture."""
    x, y = toy.SIDE / 2 + np.asarray(state) * (toy.SIDE / 2 - toy.RADIUS) - 0.5
    return float(x), float(y)
