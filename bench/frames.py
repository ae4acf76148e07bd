"""Golden cases of the kind "preproc": what becomes of a clip before a model sees it.

Owns: how such a case is run, its tolerances. Does not know: models, the other kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from bench.golden import Case, Row, compare
from jepad.vision import preprocess
from jepad.vision.preprocess import Clip, Frames

#: Sums of floats: a last bit may round to the next grey level.
GREY = 0.0176
FLOATS = 1e-5


class Form(NamedTuple):
    """One way to prepare a clip, and how exact it must be: the 8-bit ones are, to the bit."""

    make: Callable[[Frames, int], Clip]
    tolerance: float = 0.0


#: By the beginning of its name in the case; the longest that fits counts.
FORMS: Mapping[str, Form] = {
    "eval_crop": Form(preprocess.evaluate),
    "eval_tensor_input_crop": Form(
        lambda frames, crop: preprocess.evaluate(frames, crop, "antialiased"), GREY
    ),
    "eval_3views_short": Form(preprocess.views),
    "ac_eval": Form(preprocess.centred, FLOATS),
    "ac_train_config": Form(
        lambda frames, crop: preprocess.centred(frames, crop, preprocess.TRAINED), FLOATS
    ),
}


def run(case: Case) -> Iterator[Row]:
    """Every output of the case; a form that nobody knows is infinitely off."""
    crops = {str(crop): crop for crop in case.config["crops"]}
    for array in case.arrays:
        if not array.startswith("out/"):
            continue
        clip, _, name = array.removeprefix("out/").partition("/")
        begin = max((known for known in FORMS if name.startswith(known)), key=len, default="")
        crop = crops.get(name.removeprefix(begin) or next(iter(crops)))
        if not begin or crop is None:
            yield Row(case.name, array, float("inf"))
            continue
        form = FORMS[begin]
        made = form.make(case.arrays[f"in/{clip}"], crop)
        # Ours has the channels last: that is what patches are cut from.
        yield compare(case, array, np.moveaxis(made, -1, -4), form.tolerance)
