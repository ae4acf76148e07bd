"""On a small real trace: a few steps help, an interruption changes nothing, files are true."""

import json
import os

import numpy as np
import onnx
import pytest
import torch

from jepad.heads.forecast import finish
from jepad.heads.prepare import prepare
from jepad.jepa.config import Schedule, Shape
from jepad.jepa.trainer import Trainer
from jepad.jepa.world import WorldModel
from jepad.learn import card, export, metrics, score, train
from jepad.learn.batches import to_batch
from jepad.learn.calibrate import fit_trust
from jepad.learn.sampler import Sampler
from jepad.models import store
from tests.learn.conftest import TRACES

SMALL = Shape(width=32, heads=2, time_blocks=1, predictor_blocks=1)


def steps(trainer, sampler, count):
    return [trainer.learn(to_batch(*sampler.draw()))["quantile"] for _ in range(count)]


def test_a_few_steps_help(smd):
    trainer = Trainer(SMALL, Schedule(steps=25, warmup=2, peak=3e-3))
    batch = to_batch(*Sampler([smd], 0, rows=64).draw())
    seen = [trainer.learn(batch)["quantile"] for _ in range(25)]
    assert seen[-1] < 0.9 * seen[0]


def test_latents_are_trusted_as_far_as_they_are_right(smd):
    torch.manual_seed(0)
    model = WorldModel(SMALL).eval()
    fit_trust(model, Sampler([smd], 0, rows=32), batches=24)
    common = model.trust.diagonal(dim1=1, dim2=2).mean(1)
    assert (common < 0.6).all()  # untrained: hardly
    assert model.trust.isfinite().all()


@pytest.fixture(scope="module")
def exported(traces, tmp_path_factory):
    torch.manual_seed(0)
    directory = str(tmp_path_factory.mktemp("model"))
    model, example = WorldModel(SMALL).eval(), card.example(traces)
    made = export.export(model, example, directory, {"name": "small"})
    return directory, made


def test_onnx_says_what_torch_says(exported):
    made = exported[1]
    assert made["checks"]["onnx"]["quantiles_max"] < 1e-4
    assert made["checks"]["onnx"]["z_cosine_min"] > 0.9999


def test_int8_is_close(exported):
    made = exported[1]["checks"]["int8"]
    assert made["quantiles_mean"] < 0.05 * made["quantiles_size"]
    assert made["z_cosine_min"] > 0.99


@pytest.mark.parametrize(("b", "c"), [(1, 1), (3, 7), (2, 60)])
def test_any_batch_and_channels(exported, b, c):
    directory = exported[0]
    now = prepare(np.random.default_rng(0).normal(size=(b, c, 128)), np.ones(b))
    out = finish(now, export.infer(os.path.join(directory, store.GRAPH), now.feeds))
    assert out.quantiles.shape == (b, c, 4, 3)
    assert out.z_hat.shape == (b, 4, 32)
    assert np.isfinite(out.quantiles).all()


def test_the_graph_s_names_are_fixed(exported):
    graph = onnx.load(os.path.join(exported[0], store.GRAPH)).graph
    fed = ["x", "valid", "stats", "anchors", "season", "action", "effects"]
    assert [i.name for i in graph.input] == fed
    assert [o.name for o in graph.output] == ["quantiles", "p_rise", "z", "z_hat", "effect"]


def test_weights_are_quantised_per_channel_to_s8_but_not_the_read_out(exported):
    graph = onnx.load(os.path.join(exported[0], store.GRAPH)).graph
    kinds = [i.data_type for i in graph.initializer]
    assert kinds.count(onnx.TensorProto.INT8) > 5
    scales = [i for i in graph.initializer if i.name.endswith("_scale") and len(i.dims) == 1]
    assert any(i.dims[0] > 1 for i in scales)
    weights = {i.name: i for i in graph.initializer if len(i.dims) == 2}
    plain = [
        weights[n.input[1]] for n in graph.node if n.op_type == "MatMul" and n.input[1] in weights
    ]
    assert SMALL.anchors - 1 + 4 in {w.dims[1] for w in plain}


def test_what_was_exported_can_be_loaded(exported):
    files = store.load(exported[0])
    assert files.card["name"] == "small"


def test_scores_are_of_later_time(traces, exported, smd):
    graph = export.session(os.path.join(exported[0], store.GRAPH))
    (place,) = score.places([smd], 20)
    told = score.tell(graph, place)
    figures = score.forecast_figures([told], [score.calibrated(place)])
    assert np.isfinite(figures["relmae"]).all()
    assert np.isfinite(score.event_figures([told.p_rise], [told])["recall"][1:]).all()
    skill, z = score.latent_figures(graph, [place], 10)
    assert np.isfinite(skill).all()
    assert 1 <= metrics.effective_rank(z) <= z.shape[1] == SMALL.width
    persistence = [np.repeat(told.last[..., None], 4, -1)]
    np.testing.assert_allclose(score.relative(persistence, [told]), 1.0)


def test_the_command_trains_exports_and_resumes(tmp_path, capsys):
    out = str(tmp_path / "out")
    arguments = ["--data", TRACES, "--out", out, "--steps", "2"]
    assert train.main(arguments) == 0
    made = json.loads(capsys.readouterr().out)
    assert set(made["data"]) == {"memory_stall_1hz.csv.gz", "smd_cut.npz"}
    assert made["metrics"]["later_in_time"]["smd_cut"]["hosts"] == 1
    assert made["training"] == {"seed": 0, "steps": 2, "threads": 2}
    assert store.load(out).card == made
    assert train.main([*arguments, "--resume", "--threads", "1"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["training"]["steps"] == 2


def test_mistakes_are_answered_in_one_line(tmp_path, capsys):
    out = str(tmp_path / "out")
    assert train.main(["--data", str(tmp_path), "--out", out]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert train.main(["--data", TRACES, "--out", out, "--resume"]) == 2
    assert "checkpoint" in capsys.readouterr().err
