"""Tiny models of random weights, installed in a library of the tests'."""

import torch

from jepad.learn.video import fakes
from jepad.learn.video.install import Recipe, make
from jepad.models import library

VERSIONS = {"vitl-256": "2.0", "vitl-384-2.1": "2.1", "vitg-384-2.1": "2.1", "vitg-256-ac": "2-ac"}


def install(root, preset, precisions=("fp32",)):
    """The model `preset` of a tiny size, under its own name; `<preset>-probe` has one."""
    published = preset.removesuffix("-probe")
    table = fakes.shapes(published, tiny=True, probe=published != preset)
    states = {part: dict(fakes.tensors(shape, 3)) for part, shape in table.items()}
    recipe = Recipe(
        name=preset,
        version=VERSIONS[published],
        shapes=table,
        source={"scheme": "own"},
        precisions=precisions,
        random=True,
        ungated=True,
    )
    with torch.no_grad(), library.installing(str(root), preset) as directory:
        make(directory, recipe, lambda part, key: states[part][key], lambda *_: None)
    return library.find(str(root), preset)
