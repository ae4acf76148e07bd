"""How many faces the privacy filters hide, and what they hide for nothing.

Owns: recall by distance and by the size looked at, false boxes, what a detector still finds in a
filtered frame, processor time. Does not know how filters work. Whether a person could be known
from what is shared is not measured by any of it.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from bench.footage import (
    COUNTED,
    FACELESS,
    KINDS,
    MARKED,
    Floats,
    Still,
    canvas,
    placed,
    shrunk,
    stills,
)
from bench.report import Cell, Goal, Options, Report, Table
from jepad.camera.filters.detector import Finds, load
from jepad.camera.filters.faces import LOOK, Faces
from jepad.camera.filters.picture import Span, Way, closed, hide, pixelated
from jepad.camera.filters.yunet import Found, shared
from jepad.camera.filters.zones import masked
from jepad.camera.settings import CameraSettings
from jepad.camera.shot import Square

_DEFAULT = CameraSettings(source="file:none")
SIZE, KEEP = _DEFAULT.size, _DEFAULT.faces_keep
#: Scores from which on a box counts: the detector's authors' habit, and ours.
SCORES = (0.6, _DEFAULT.faces_threshold)
LOOKS = (960, LOOK, SIZE)
AWAY = (1, 2, 3, 4, 6)
#: Faces by their height in the shared square.
HEIGHTS = (0, 2, 3, 4, 6, 10, math.inf)
#: A reference's box is sure, and a face is hidden when so much of it is.
SURE, COVERED = 0.6, 0.9
MODEL = "face_detection_yunet*.onnx"
NONE = "--data names no directory with faces_gif/, clips/ and a YuNet model"
Films = dict[str, list[Still]]
_NOTHING = np.zeros((1, 1, 3), np.uint8)
How = tuple[int, float]  # the side looked at, the score


class Face(NamedTuple):
    """One of the reference's, and whether it is hidden."""

    height: float  # in pixels of the shared square
    alone: bool  # by this frame's boxes
    kept: bool  # with those of the frames before


@dataclass(slots=True)
class Tally:
    """Of one size looked at and one score, from near and from far."""

    faces: list[Face] = field(default_factory=list)
    false: int = 0
    frames: int = 0


def run(options: Options) -> Report:
    """Two minutes; with --quick every ninth frame only."""
    models = sorted(Path(options.data).glob(MODEL)) if options.data else []
    if options.data is None or not models:
        return Report(notes=[NONE])
    digest = hashlib.sha256(models[0].read_bytes()).hexdigest()
    find = load(str(models[0]), digest, min(SCORES))
    every = 9 if options.quick else 3
    films = {name: list(stills(options.data, name, every, 400)) for name in COUNTED}
    truths = {name: [reference(still, find) for still in film] for name, film in films.items()}
    counts = [len(t) == COUNTED[name] for name, each in truths.items() for t in each]
    tallies = recall(films, truths, find)
    marks = marked(options.data, find)
    empty = faceless(options.data, find, options.quick)
    left = leftover(films, truths, find)
    return Report(
        _goals(tallies, float(np.mean(counts)), marks, empty),
        [_recall_table(tallies), marks, empty, left, costs(films, find)],
        [f"model {models[0].name}, SHA-256 {digest}; shared square {SIZE}"],
    )


def above(found: Found, score: float) -> Found:
    """Those at least so sure; they are the same as if no other had been asked for."""
    sure = found.scores >= score
    return Found(found.boxes[sure], found.scores[sure])


def reference(still: Still, find: Finds) -> Floats:
    """The same network's surest boxes of the whole frame at its own size, by its sides."""
    return above(find(still.pixels(*still.shape)), SURE).boxes


def recall(films: Films, truths: dict[str, list[Floats]], find: Finds) -> dict[How, Tally]:
    """What is hidden of the reference's faces."""
    out = {(look, score): Tally() for look in LOOKS for score in SCORES}
    for (name, film), away, look in product(films.items(), AWAY, LOOKS):
        memories = {score: _Memory(KEEP) for score in SCORES}
        for still, boxes in zip(film, truths[name], strict=True):
            found = find(shrunk(canvas(still, away), look))
            truth = placed(boxes, still, away)
            for score, memory in memories.items():
                _count(out[look, score], truth, above(found, score), memory)
    return out


class _Memory:
    """The camera's filter fed with boxes that were found already."""

    def __init__(self, keep: int) -> None:
        self._boxes = Found(np.empty((0, 4), np.float32), np.empty(0, np.float32))
        self._faces = Faces(lambda _: self._boxes, keep, "pixelate")

    def spans(self, found: Found) -> list[Span]:
        self._boxes = found
        return self._faces.spans(_NOTHING, SIZE)


def _count(tally: Tally, truth: Floats, found: Found, memory: _Memory) -> None:
    alone, kept = _Memory(0).spans(found), memory.spans(found)
    tally.frames += 1
    tally.faces += [
        Face(float(box[3] - box[1]) * SIZE, covered(box, alone), covered(box, kept))
        for box in truth
    ]
    tally.false += sum(not len(truth) or shared(box, truth).max() < 0.1 for box in found.boxes)


def covered(box: Floats, spans: Sequence[Span]) -> bool:
    """Whether nearly all of a box, in the square's sides, is under spans of the shared square."""
    fine = 4  # a face may be smaller than a pixel is wide
    mask = np.zeros((SIZE * fine, SIZE * fine), bool)
    for left, top, right, bottom in spans:
        mask[top * fine : bottom * fine, left * fine : right * fine] = True
    left, top, right, bottom = (round(float(v) * SIZE * fine) for v in box)
    part = mask[top : max(bottom, top + 1), left : max(right, left + 1)]
    return bool(part.size) and float(part.mean()) >= COVERED


def marked(data: str, find: Finds) -> Table:
    """Faces marked by eye: whether the mark's place is hidden."""
    rows: list[list[Cell]] = []
    for name, marks in MARKED.items():
        film = {still.index: still for still in stills(data, name, 25, 20)}
        present = [(film[at], x, y) for at, x, y in marks if at in film]
        hits = [_under(still, (x, y), find) for still, x, y in present]
        shares = [float(np.mean(column)) for column in zip(*hits, strict=True)]
        rows.append([Path(name).name, len(present), *shares])
    return Table(
        f"faces marked by eye, looked for at {LOOK}: share hidden",
        ["film", "faces", *(f"score {score}" for score in SCORES)],
        rows,
    )


def _under(still: Still, point: tuple[float, float], find: Finds) -> list[bool]:
    found = find(shrunk(canvas(still, 1), LOOK))
    x, y = placed(np.array([point], np.float32), still, 1)[0] * SIZE
    each = [_Memory(0).spans(above(found, score)) for score in SCORES]
    return [any(s.left <= x < s.right and s.top <= y < s.bottom for s in spans) for spans in each]


def faceless(data: str, find: Finds, quick: bool) -> Table:
    """What is found where nobody's face is."""
    rows: list[list[Cell]] = []
    for name in FACELESS:
        film = list(stills(data, name, 25 if quick else 6, 20 if quick else 120))
        founds = [find(shrunk(canvas(still, 1), LOOK)) for still in film]
        row: list[Cell] = [Path(name).name, KINDS.get(name, "no face")]
        row.append(len(film))
        for score in SCORES:
            spans = [_Memory(0).spans(above(found, score)) for found in founds]
            areas = [(s.right - s.left) * (s.bottom - s.top) for each in spans for s in each]
            row += [len(areas) / len(film), sum(areas) / (len(film) * SIZE * SIZE)]
        rows.append(row)
    heads = [f"{what}, {score}" for score in SCORES for what in ("boxes a frame", "pixels hidden")]
    return Table("found where no face is", ["film", "", "frames", *heads], rows)


def leftover(films: Films, truths: dict[str, list[Floats]], find: Finds) -> Table:
    """What the network still finds in the shared square, enlarged, after each filter."""
    faces = [
        (shrunk(canvas(still, 1), SIZE), placed(truth, still, 1))
        for name, film in films.items()
        for still, truth in zip(film, truths[name], strict=True)
    ]
    rows: list[list[Cell]] = []
    for what, way in WAYS.items():
        hits = total = 0
        for square, truth in faces:
            seen = find(shrunk(way(square.copy(), truth), LOOK)).boxes
            hits += sum(bool(len(seen)) and shared(box, seen).max() > 0.3 for box in truth)
            total += len(truth)
        rows.append([what, total, hits / max(total, 1)])
    title = f"faces that the network finds in the shared square of {SIZE}, enlarged"
    return Table(title, ["filter", "faces", f"found, score {min(SCORES)}"], rows)


def _hidden(square: Square, boxes: Floats, way: Way) -> Square:
    """As if every face were found: what is left is the way of hiding, not the detector."""
    for each in _Memory(0).spans(Found(boxes, np.ones(len(boxes), np.float32))):
        hide(square, each, way)
    return square


WAYS: dict[str, Callable[[Square, Floats], Square]] = {
    "none": lambda square, _: square,
    "faces (all found), pixelate": lambda square, boxes: _hidden(square, boxes, "pixelate"),
    "faces (all found), blur": lambda square, boxes: _hidden(square, boxes, "blur"),
    "pixelate 4": lambda square, _: pixelated(square, 4),
    "pixelate 8": lambda square, _: pixelated(square, 8),
    "pixelate 16": lambda square, _: pixelated(square, 16),
    "a filter failed": lambda square, _: closed(square),
}


def costs(films: Films, find: Finds) -> Table:
    """Processor time of a frame, medians."""
    views = [canvas(still, 2) for film in films.values() for still in film[:4]]
    looks = {look: [shrunk(view, look) for view in views] for look in LOOKS}
    rows: list[list[Cell]] = [
        [f"faces, looked for at {look}", _ms(find, looks[look])] for look in LOOKS
    ]
    squares = looks[SIZE]
    mask = masked([((0.1, 0.1), (0.9, 0.5))], SIZE)
    rows.append(["zones", _ms(lambda s: np.copyto(s, 0, where=mask[..., None]), squares)])
    rows.append(["pixelate 16", _ms(lambda s: pixelated(s, 16), squares)])
    rows.append(["hiding one face", _ms(lambda s: hide(s, Span(60, 60, 120, 140)), squares)])
    return Table("processor time of a frame", ["", "ms"], rows)


def _ms(work: Callable[[Square], object], views: Sequence[Square]) -> float:
    spent = []
    for view in views:
        start = time.process_time()
        work(view)
        spent.append(1e3 * (time.process_time() - start))
    return float(np.median(spent))


def _recall_table(tallies: dict[How, Tally]) -> Table:
    rows: list[list[Cell]] = []
    for low, high in pairwise(HEIGHTS):
        for (look, score), tally in tallies.items():
            some = [face for face in tally.faces if low <= face.height < high]
            if some:
                rows.append([_words(low, high), look, score, len(some),
                             float(np.mean([face.alone for face in some])),
                             float(np.mean([face.kept for face in some])),
                             tally.false / tally.frames])  # fmt: skip
    columns = [f"face, px of {SIZE}", "looked for at", "score", "faces", "hidden",
               f"hidden, keep {KEEP}", "false a frame (all)"]  # fmt: skip
    return Table("recall on films whose faces look at the camera, near and far", columns, rows)


def _words(low: float, high: float) -> str:
    return f"{low:g} to {high:g}" if math.isfinite(high) else f"{low:g} and more"


def _goals(tallies: dict[How, Tally], agreed: float, marks: Table, empty: Table) -> list[Goal]:
    faces = tallies[LOOK, min(SCORES)].faces
    weights = [cast(int, row[1]) for row in marks.rows]
    eye = float(np.average([cast(float, row[-1]) for row in marks.rows], weights=weights))
    bare = [cast(float, row[-2]) for row in empty.rows if row[1] == "no face"]
    return [
        Goal("frames with as many reference boxes as faces counted by eye", agreed, ">=", 0.95),
        Goal(f"faces of 4 px and more of {SIZE} hidden, of the reference's",
             float(np.mean([face.kept for face in faces if face.height >= 4])), ">=", 0.98),
        Goal("faces hidden, of those marked by eye", eye, ">=", 0.9),
        Goal("false boxes a frame where no face is", float(np.mean(bare)), "<=", 0.1),
    ]  # fmt: skip
