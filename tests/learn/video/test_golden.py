"""Exported graphs beside the outputs of Meta's own code, in float32."""

from pathlib import Path

import numpy as np
import pytest

from bench import golden
from jepad.jepa.video.steps import places
from jepad.learn.video import export
from jepad.learn.video.install import arrays
from jepad.learn.video.measure import Graph
from jepad.vision.grid import positions, tables
from jepad.vision.patches import unfold

FIXTURES = Path(__file__).parents[2] / "fixtures" / "vjepa"


@pytest.fixture
def graph(tmp_path):
    """The graph of a module of a case, and its shape."""

    def build(case, module, part):
        shape, state = golden.shape(case, module), case.parameters(module)
        path = str(tmp_path / f"{part}.onnx")
        read = arrays(lambda _, key: state[key], part)
        if part == "encoder":
            export.encoder(path, shape, read, int8=False)
        else:
            getattr(export, part)(path, shape, read)
        return shape, Graph(path)

    return build


@pytest.mark.parametrize(
    ("out", "video", "mask"),
    [
        ("full", "video", None),
        ("masked", "video", "mask_a"),
        ("unsorted_mask", "video", "mask_unsorted"),
        ("nonsquare", "video_nonsquare", None),
        ("nonsquare_masked", "video_nonsquare", "mask_nonsquare"),
        ("short_clip", "video_2frames", None),
        ("flat_clip", "video_flat", None),
    ],
)
def test_the_encoder(graph, out, video, mask):
    case = golden.load(FIXTURES, "v20_encoder_hd40_mlp48_11")
    shape, run = graph(case, "encoder", "encoder")
    clip = case.arrays[f"in/{video}"][0].transpose(1, 2, 3, 0)
    grid = shape.grid_of(*clip.shape[:3])
    keep = np.arange(grid.tokens) if mask is None else case.arrays[f"in/{mask}"][0]
    cos, sin = tables(shape.rope, positions(grid, keep), halves=True)
    patches = unfold(np.ascontiguousarray(clip))[keep]
    got = run(("tokens",), {"patches": patches[None], "cos": cos[None], "sin": sin[None]})[0]
    assert golden.compare(case, f"out/{out}", got).ok


@pytest.mark.parametrize(
    ("name", "module", "out", "given", "index"),
    [
        ("v20_predictor_hd32", "predictor", "mask_index_0", "context", 0),
        ("v20_predictor_hd32", "predictor", "default_mask_index", "context", 1),
        ("v20_predictor_hd32", "predictor", "mask_index_5_wraps_to_2", "context", 5),
        ("v20_predictor_hd32", "predictor", "context_low_variance", "context_low_variance", 0),
        ("v21_predictor_hd32", "predictor_distil", "distilled_video", "context1", 0),
    ],
)
def test_the_mask_predictor(graph, name, module, out, given, index):
    case = golden.load(FIXTURES, name)
    shape, run = graph(case, module, "predictor")
    keep = np.concatenate([case.arrays["in/mask_x"], case.arrays["in/mask_y"]], 1)
    cos, sin = tables(shape.rope, positions(shape.grid, keep, shape.rescale), halves=True)
    feeds = {"context": case.arrays[f"in/{given}"], "cos": cos, "sin": sin,
             "mask_index": np.array(index)}  # fmt: skip
    if shape.context_head:
        both = run(("targets", "context_out"), feeds)
        assert all(golden.compare(case, f"out/{out}/{i}", both[i]).ok for i in range(2))
    else:
        assert golden.compare(case, f"out/{out}", run(("targets",), feeds)[0]).ok


@pytest.mark.parametrize("form", ["", "_extrinsics"])
def test_the_action_predictor(graph, form):
    """Three frames one by one on their past are Meta's causal pass over all three."""
    case = golden.load(FIXTURES, "v2ac_nonsquare")
    shape, run = graph(case, f"predictor{form}", "action")
    frame, conditions = shape.grid.frame, 2 + shape.extrinsics
    tokens = case.arrays["out/tokens_layernormed"]
    head = shape.width // shape.heads
    past = [np.zeros((shape.depth, 1, shape.heads, 0, head), np.float32)] * 2
    found = []
    for t in range(3):
        cos, sin = tables(shape.rope, places(shape.grid, t, 1, conditions), halves=True)
        feeds = {
            "tokens": tokens[:, t * frame : (t + 1) * frame],
            "action": case.arrays["in/actions"][:, t],
            "state": case.arrays["in/states"][:, t],
            "cos": cos[None],
            "sin": sin[None],
            "past_keys": past[0],
            "past_values": past[1],
        }
        if shape.extrinsics:
            feeds["extrinsics"] = case.arrays["in/extrinsics"][:, t]
        ahead, *fresh = run(("next", "keys", "values"), feeds)
        past = [np.concatenate(pair, 3) for pair in zip(past, fresh, strict=True)]
        found.append(ahead)
        assert golden.compare(case, f"out/T{t + 1}{form}", np.concatenate(found, 1)).ok
