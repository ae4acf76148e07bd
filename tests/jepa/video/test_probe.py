"""The attentive probe: Meta's numbers and what is particular about it."""

import torch

from bench import controls, golden
from jepad.jepa.video.probe import AttentiveProbe
from jepad.jepa.video.shape import ProbeShape


def load():
    return golden.load(golden.FIXTURES, "attentive_probe")


def test_metas_numbers():
    rows = list(golden.run(load()))
    assert len(rows) == 5
    assert [row for row in rows if not row.ok] == []


def test_faults_are_seen():
    seen = list(controls.run(load(), quick=True))
    assert len(seen) == 2  # it has no positions, and no mask
    assert [control for control in seen if not control.ok] == []


def test_another_number_of_heads_loads_silently_and_is_told_by_the_numbers():
    case = load()
    right = golden.build(case, "classifier")
    shape = ProbeShape(width=96, heads=4, depth=4, classes=7, hidden=384)
    wrong = AttentiveProbe(shape)
    wrong.load_state_dict(right.state_dict())
    with torch.no_grad():
        logits = wrong(case.given("tokens"))
    assert golden.compare(case, "out/logits", logits).delta > 0.01


def test_the_order_of_tokens_does_not_matter():
    case = load()
    probe, tokens = golden.build(case, "classifier"), case.given("tokens")
    with torch.no_grad():
        torch.testing.assert_close(probe(tokens.flip(1)), probe(tokens), atol=1e-5, rtol=0)
