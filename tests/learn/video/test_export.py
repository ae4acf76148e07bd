"""A written graph says what the torch module says."""

import os

import numpy as np
import onnx
import pytest
import torch

from jepad.jepa.attention import Turn
from jepad.jepa.video.action import Given
from jepad.learn.video import export
from jepad.learn.video.install import arrays
from jepad.learn.video.measure import Graph
from jepad.vision.grid import Grid, positions, tables

CLOSE = 2e-5


def both(rope, places):
    """Tables for torch, and for a graph."""
    cos, sin = tables(rope, places)
    turn = Turn(torch.from_numpy(cos), torch.from_numpy(sin))
    return turn, tables(rope, places, halves=True)


def reader(network):
    state = network.state_dict()
    return arrays(lambda _, key: state[key], "any")


def random(*size):
    return torch.randn(size, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("preset", ["vitl-256", "vitl-384-2.1"])
@pytest.mark.parametrize("keep", [None, [3, 1, 40, 17, 63]])
def test_the_encoder(made, tmp_path, preset, keep):
    shape, network = made(preset, "encoder")
    places = positions(Grid(4, 4, 4), keep, rescale=shape.rescale)
    turn, (cos, sin) = both(shape.rope, places)
    patches = random(2, len(places), shape.inputs)
    path = str(tmp_path / "graph.onnx")
    levels = bool(shape.levels)
    export.encoder(path, shape, reader(network), int8=False, levels=levels)
    names = ("tokens", "levels") if levels else ("tokens",)
    got = Graph(path)(names, {"patches": patches.numpy(), "cos": cos[None], "sin": sin[None]})
    assert np.abs(got[0] - network(patches, turn).numpy()).max() < CLOSE
    if levels:
        wanted = torch.cat(network.read(patches, turn, shape.levels), -1).numpy()
        assert np.abs(got[1] - wanted).max() < CLOSE


@pytest.mark.parametrize("int8", [False, True])
def test_a_picture_shares_the_blocks(made, tmp_path, int8):
    """One graph takes both; a model that knows no pictures has no second embedding."""
    shape, network = made("vitl-384-2.1", "encoder")
    turn, (cos, sin) = both(shape.rope, positions(Grid(1, 4, 4), rescale=shape.rescale))
    path = str(tmp_path / "graph.onnx")
    export.encoder(path, shape, reader(network), int8, levels=True)
    graph, names = Graph(path), ("tokens", "levels")
    least = 0.3 if int8 else CLOSE
    for inputs, image in ((shape.image_inputs, True), (shape.inputs, False)):
        patches = random(2, 16, inputs)
        got = graph(names, {"patches": patches.numpy(), "cos": cos[None], "sin": sin[None]})
        assert np.abs(got[0] - network(patches, turn, image).numpy()).max() < least
        wanted = torch.cat(network.read(patches, turn, shape.levels, image), -1).numpy()
        assert np.abs(got[1] - wanted).max() < least
    crossed = network(random(2, 16, shape.image_inputs).repeat(1, 1, 2), turn).numpy()
    pictured = network(random(2, 16, shape.image_inputs), turn, True).numpy()
    assert np.abs(crossed - pictured).max() > 1e-2  # the two embeddings differ


def test_tables_may_differ_along_the_batch(made, tmp_path):
    shape, network = made("vitl-256", "encoder")
    places = np.stack([positions(Grid(4, 4, 4), keep) for keep in ([0, 5, 9], [60, 2, 33])])
    cos, sin = tables(shape.rope, places)
    turn = Turn(torch.from_numpy(cos)[:, None], torch.from_numpy(sin)[:, None])
    cos, sin = tables(shape.rope, places, halves=True)
    patches = random(2, 3, shape.inputs)
    path = str(tmp_path / "graph.onnx")
    export.encoder(path, shape, reader(network), int8=False)
    got = Graph(path)(("tokens",), {"patches": patches.numpy(), "cos": cos, "sin": sin})[0]
    assert np.abs(got - network(patches, turn).numpy()).max() < CLOSE


def test_the_wrong_tables_are_told_apart(made, tmp_path):
    """The negative control: tables of the other layout give other tokens."""
    from dataclasses import replace

    shape, network = made("vitl-256", "encoder")
    places = positions(Grid(4, 4, 4))
    turn, _ = both(shape.rope, places)
    wrong = tables(replace(shape.rope, layout="interleaved"), places, halves=True)
    patches = random(1, 64, shape.inputs)
    path = str(tmp_path / "graph.onnx")
    export.encoder(path, shape, reader(network), int8=False)
    feeds = {"patches": patches.numpy(), "cos": wrong[0][None], "sin": wrong[1][None]}
    assert np.abs(Graph(path)(("tokens",), feeds)[0] - network(patches, turn).numpy()).max() > 1e-3


@pytest.mark.parametrize("preset", ["vitl-256", "vitl-384-2.1", "vitg-384-2.1"])
@pytest.mark.parametrize("index", [0, 1, 11])
def test_the_mask_predictor(made, tmp_path, preset, index):
    shape, network = made(preset, "predictor")
    places = positions(shape.grid, [0, 7, 20, 33, 62, 5, 6])
    turn, (cos, sin) = both(shape.rope, places)
    context = random(2, 4, shape.source * shape.levels)
    path = str(tmp_path / "graph.onnx")
    export.predictor(path, shape, reader(network))
    feeds = {"context": context.numpy(), "cos": cos[None], "sin": sin[None],
             "mask_index": np.array(index)}  # fmt: skip
    wanted = network(context, turn, index)
    names = ("targets", "context_out") if shape.context_head else ("targets",)
    got = Graph(path)(names, feeds)
    assert got[0].shape == (2, 3, shape.output)
    assert np.abs(got[0] - wanted.targets.numpy()).max() < CLOSE
    if shape.context_head:
        assert np.abs(got[1] - wanted.context.numpy()).max() < CLOSE


@pytest.mark.parametrize("extrinsics", [False, True])
def test_the_action_predictor_step_by_step(made, tmp_path, extrinsics):
    """Three steps with their past, the first frame shared by both samples."""
    from dataclasses import replace

    from jepad.jepa.video.steps import places

    shape, network = made("vitg-256-ac", "action")
    shape = replace(shape, extrinsics=extrinsics)
    network.shape = shape
    path = str(tmp_path / "graph.onnx")
    export.action(path, shape, reader(network))
    graph, past = Graph(path), None
    kept = [np.zeros((shape.depth, 1, shape.heads, 0, 24), np.float32)] * 2
    tokens = random(1, 16, shape.source)
    for t in range(3):
        told = [random(2, n) + t for n in (7, 7, 6)[: 2 + extrinsics]]
        wanted, past = network.step(tokens, Given(*told), past, network.turn(t))
        cos, sin = tables(shape.rope, places(shape.grid, t, 1, 2 + extrinsics), halves=True)
        feeds = dict(
            zip(("action", "state", "extrinsics"), (x.numpy() for x in told), strict=False)
        )
        feeds |= {"tokens": tokens.numpy(), "cos": cos[None], "sin": sin[None],
                  "past_keys": kept[0], "past_values": kept[1]}  # fmt: skip
        got = graph(("next", "keys", "values"), feeds)
        assert np.abs(got[0] - wanted.numpy()).max() < CLOSE
        if kept[0].shape[1] < 2:
            kept = [np.broadcast_to(k, (k.shape[0], 2, *k.shape[2:])) for k in kept]
        kept = [np.concatenate(pair, 3) for pair in zip(kept, got[1:], strict=True)]
        assert np.abs(kept[1] - np.stack([p.values.numpy() for p in past])).max() < CLOSE
        tokens = wanted


def test_a_past_of_one_is_shared_by_all(made, tmp_path):
    from jepad.jepa.video.steps import places

    shape, network = made("vitg-256-ac", "action")
    path = str(tmp_path / "graph.onnx")
    export.action(path, shape, reader(network))
    past = random(shape.depth, 1, shape.heads, 18, 24).numpy()
    cos, sin = tables(shape.rope, places(shape.grid, 1), halves=True)
    feeds = {"tokens": random(1, 16, 64).numpy(), "action": random(3, 7).numpy(),
             "state": random(3, 7).numpy(), "cos": cos[None], "sin": sin[None],
             "past_keys": past, "past_values": past}  # fmt: skip
    shared = Graph(path)(("next",), feeds)[0]
    whole = np.repeat(past, 3, 1)
    apart = Graph(path)(("next",), feeds | {"past_keys": whole, "past_values": whole})[0]
    assert np.abs(shared - apart).max() < 1e-6


@pytest.mark.parametrize(("heads", "depth"), [(2, 4), (16, 4), (2, 1)])
def test_the_probe(tmp_path, heads, depth):
    """Of 16 heads whatever the encoder has; another count runs as well and says something else."""
    from dataclasses import replace

    from jepad.learn.video import fakes, parts

    shape = fakes.shapes("vitl-256", tiny=True, probe=True)["probe"]
    shape = replace(shape, heads=heads, depth=depth)
    network = parts.filled(shape, dict(fakes.tensors(shape, 3)).__getitem__)
    path = str(tmp_path / "graph.onnx")
    export.probe(path, shape, reader(network))
    tokens = random(3, 21, shape.width)
    wanted = network(tokens).numpy()
    got = Graph(path)(("logits",), {"tokens": tokens.numpy()})[0]
    assert got.shape == (3, shape.classes)
    assert np.abs(got - wanted).max() < CLOSE
    for wrong in (replace(shape, heads=4), replace(shape, eps=1e-2)):
        export.probe(path, wrong, reader(network))
        assert np.abs(Graph(path)(("logits",), {"tokens": tokens.numpy()})[0] - wanted).max() > 1e-4


def test_int8_is_close_small_and_the_same_in_any_batch(made, tmp_path):
    shape, network = made("vitl-256", "encoder")
    turn, (cos, sin) = both(shape.rope, positions(Grid(4, 4, 4)))
    paths = [str(tmp_path / f"{name}.onnx") for name in ("small", "whole")]
    sizes = [export.encoder(p, shape, reader(network), p == paths[0]) for p in paths]
    patches = random(3, 64, shape.inputs).numpy()
    patches[1] *= 40  # a wild neighbour
    feeds = {"cos": cos[None], "sin": sin[None]}
    graph = Graph(paths[0])
    together = graph(("tokens",), feeds | {"patches": patches})[0]
    alone = graph(("tokens",), feeds | {"patches": patches[:1]})[0]
    assert (together[:1] == alone).all()
    wanted = network(torch.from_numpy(patches), turn).numpy()
    assert 0 < np.abs(together - wanted).max() < 0.1
    blocks = sum(p.numel() for n, p in network.named_parameters() if "blocks" in n)
    assert sizes[1] - sizes[0] > 1.9 * blocks  # one layer of eight is kept float


def test_a_token_of_zeros_is_no_division_by_zero(made, tmp_path):
    shape, network = made("vitl-256", "encoder")
    network.patch_embed.proj.bias.zero_()
    for name, tensor in network.state_dict().items():
        if ".norm1." in name:
            tensor.zero_()
    _, (cos, sin) = both(shape.rope, positions(Grid(1, 1, 1)))
    path = str(tmp_path / "graph.onnx")
    export.encoder(path, shape, reader(network), int8=True)
    zeros = np.zeros((1, 1, shape.inputs), np.float32)
    got = Graph(path)(("tokens",), {"patches": zeros, "cos": cos[None], "sin": sin[None]})[0]
    assert np.isfinite(got).all()


def test_a_written_graph_is_valid_and_its_weights_are_counted(made, tmp_path):
    shape, network = made("vitl-256", "encoder")
    path = str(tmp_path / "graph.onnx")
    size = export.encoder(path, shape, reader(network), int8=False)
    parameters = sum(p.numel() for p in network.parameters()) * 4
    assert parameters <= size < parameters + 2000
    assert os.path.getsize(path) + os.path.getsize(path + ".data") < 1.1 * size + 40_000
    names = onnx.load(path, load_external_data=False).graph
    assert tuple(i.name for i in names.input) == export.INPUTS["encoder"]
    assert tuple(o.name for o in names.output) == export.OUTPUTS["encoder"]


@pytest.mark.parametrize("preset", ["vitl-256", "vitl-384-2.1", "vitg-384-2.1", "vitg-256-ac"])
def test_what_shapes_promise_is_what_is_written(made, tmp_path, preset):
    from jepad.learn.video import fakes
    from jepad.models import footprint

    shapes = fakes.shapes(preset, tiny=True, probe=preset == "vitl-256")
    path = str(tmp_path / "graph.onnx")
    for precision in ("int8", "fp32"):
        promised = footprint.graphs(shapes, precision)
        for part, (name, size) in zip(shapes, promised.items(), strict=True):
            shape, network = made(preset, part)
            read = reader(network)
            if part == "encoder":
                levels = shapes.get("predictor") is not None and shapes["predictor"].levels > 1
                written = export.encoder(path, shape, read, precision == "int8", levels)
            else:
                written = getattr(export, part)(path, shape, read)
            assert 0 <= written - size < 2000, name
