"""After training: how far predicted latents may be trusted, by horizon.

Owns: one least-squares factor a horizon, fitted on training windows. Does not know: the export.
"""

from __future__ import annotations

import torch
from torch import Tensor

from jepad.jepa.encoder import latent
from jepad.jepa.trainer import Batch
from jepad.jepa.world import WorldModel
from jepad.learn.batches import to_batch
from jepad.learn.sampler import Sampler


@torch.no_grad()
def fit_trust(model: WorldModel, sampler: Sampler, batches: int = 32) -> None:
    """Set `model.trust` so that z + trust * (z_hat - z) misses what came least."""
    model.eval()
    horizons = len(model.shape.horizons)
    both, own = torch.zeros(horizons), torch.zeros(horizons)
    for _ in range(batches):
        batch = to_batch(*sampler.draw())
        said, came = _step(model, batch)
        both[batch.horizon] += (said * came).sum()
        own[batch.horizon] += (said * said).sum()
    fitted = (both / own.clamp(min=1e-9)).clamp(0, 1)
    model.trust.copy_(torch.where(own > 0, fitted, model.trust))


def _step(model: WorldModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """How z was said to move and how it did, as hosts' means: [B, D] each."""
    out = model(batch.feeds)
    later = latent(model.encoder(*batch.later[:3])).reshape(out.z.shape).mean(1)
    now = out.z.mean(1)
    return out.z_hat[:, :, batch.horizon].mean(1) - now, later - now
