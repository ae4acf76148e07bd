"""After training: how far predicted latents may be trusted, by horizon.

Owns: one ridge regression a horizon, fitted on training windows. Does not know: the export.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jepad.jepa.encoder import latent
from jepad.jepa.trainer import Batch
from jepad.jepa.world import WorldModel
from jepad.learn.batches import to_batch
from jepad.learn.sampler import Sampler

#: Of the ridge, in deviations of what is regressed on; batches that the fit rests on.
_RIDGE, BATCHES = 0.03, 192


@torch.no_grad()
def fit_trust(model: WorldModel, sampler: Sampler, batches: int = BATCHES) -> None:
    """Set `model.trust` so that z + (z_hat - z) @ trust misses what came least, in squares.

    What is shrunk is the rest beyond one common factor; a horizon nothing is known of keeps its
    matrix."""
    model.eval()
    found: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for _ in range(batches):
        batch = to_batch(*sampler.draw())
        found.setdefault(batch.horizon, []).append(_step(model, batch))
    for horizon, pairs in found.items():
        said, came = (torch.cat(part).double() for part in zip(*pairs, strict=True))
        model.trust[horizon] = _regressed(said, came).to(model.trust.dtype)


def _regressed(said: Tensor, came: Tensor) -> Tensor:
    """[N, D] twice -> [D, D]."""
    eye = torch.eye(said.shape[1], dtype=said.dtype)
    common = ((said * came).sum() / (said * said).sum().clamp(min=1e-9)).clamp(0, 1)
    ridge = _RIDGE * len(said) * eye
    rest: Tensor = torch.linalg.solve(said.T @ said + ridge, said.T @ (came - common * said))
    return common * eye + rest


def _step(model: WorldModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """How z was said to move and how it did, as hosts' means: [B, D] each."""
    out = model(batch.feeds)
    later = latent(model.encoder(*batch.later[:3])).reshape(out.z.shape).mean(1)
    now = out.z.mean(1)
    return out.z_hat[:, :, batch.horizon].mean(1) - now, later - now
