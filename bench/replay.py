"""Golden cases of the kinds that move: masks drawn, training steps, actions and what they lead to.

Owns: how such a case is run. Does not know: files, the kinds of one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from bench import golden, replan
from bench.golden import Case, Row
from jepad.jepa.video.action import ActionPredictor, Given
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.masks import Blocks, Masks, draw
from jepad.jepa.video.objective import Seen, action_losses, imagine, nearness
from jepad.jepa.video.predictor import MaskPredictor
from jepad.jepa.video.rollout import Moment, World, rollout
from jepad.jepa.video.training import Course, MaskedTrainer, encode_frames
from jepad.vision.grid import Grid
from jepad.vision.preprocess import centred

LOSS = 1e-5
EXACT = 1e-15  # double precision
#: Of norms of gradients and of updates, beside the norm.
NORM = 1e-4
#: Of parameters after a step, where the gradient is more than noise.
PARAMETER = 1e-6
NOISE = 1e-6


def masks(case: Case) -> Iterator[Row]:
    """Multi-block masks, exactly."""
    config = case.config
    rows, columns = (size // config.get("patch_size", 16) for size in config["crop_size"])
    grid = Grid(config["num_frames"] // config.get("tubelet_size", 2), rows, columns)
    for i, spec in enumerate(config["mask"]):
        shares = (spec["spatial_scale"], spec["temporal_scale"], spec["aspect_ratio"])
        blocks = Blocks(spec["num_blocks"], *(tuple(share) for share in shares))
        places = torch.Generator().manual_seed(config["torch_seed"])
        for j in range(config["iterations"]):
            pair = draw(blocks, grid, config["batch"], j, places)
            for name, found in zip(("enc", "pred"), pair, strict=True):
                yield golden.compare(case, f"out/set{i}/iter{j}/{name}", found, 0.0)


def train20(case: Case) -> Iterator[Row]:
    """Training steps of 2.0, with the EMA target and the optimiser."""
    config = case.config
    trainer = _trainer(case, _course(config))
    trainer.target.load_state_dict(case.parameters("target_encoder"))
    parts: dict[str, nn.Module] = {**trainer.parts, "target_encoder": trainer.target}
    del parts["target"]
    start = {name: _copied(part) for name, part in parts.items()}
    pairs = [_pair(case, f"{i}") for i in range(_count(case, "in/mask_enc_"))]
    clips = case.given("clips")
    for step in range(config["steps"]):
        at = f"out/step{step}"
        yield from _present(case, _said(trainer, clips, pairs, at), golden.TOLERANCE)
        terms = trainer.learn(clips, pairs)
        group = trainer.optimiser.param_groups[0]
        yield golden.compare(case, f"{at}/loss", torch.tensor(terms["total"]), LOSS)
        for name, setting in (("lr", "lr"), ("wd", "weight_decay")):
            yield golden.compare(case, f"{at}/{name}", np.array(group[setting]), EXACT)
        for name, part in parts.items():
            yield from _moved(case, at, name, part, start[name])


def train21(case: Case) -> Iterator[Row]:
    """The terms of 2.1 on video and on images, and their gradients."""
    config = case.config
    for modality in config["modalities"]:
        at = f"out/{modality}"
        pairs = [_pair(case, f"{modality}_{i}") for i in range(config["n_masks"][modality])]
        clips = case.given(f"clips_{modality}")
        near = _trainer(case, Course(seen=Seen(config["lambda"], 0, 0)))
        weighted = near.losses(clips, pairs)["seen"]
        yield from _present(case, _seen(near, clips, pairs, at), golden.TOLERANCE)
        plain = _trainer(case, Course(seen=Seen(config["lambda"], 0, 0, near=False)))
        terms = plain.learn(clips, pairs)
        told = {
            "loss_pred": terms["hidden"],
            "loss_context": terms["seen"],
            "loss_context_distance_weighted": float(weighted.detach()),
            "loss_total": terms["total"],
        }
        yield from _present(case, {f"{at}/{k}": torch.tensor(v) for k, v in told.items()}, LOSS)
        for name in ("encoder", "predictor"):
            yield _gradients(case, f"{at}/grad_norm_{name}", name, plain.parts[name])


def ac(case: Case) -> Iterator[Row]:
    """2-AC: frames encoded alone, every step of the predictor, its losses, what actions lead to."""
    encoder = cast(VideoEncoder, golden.build(case, "encoder"))
    tokens = encode_frames(encoder, case.given("clips"))
    yield golden.compare(case, "out/tokens_layernormed", tokens)
    if "in/frame_uint8" in case.arrays:
        frame = centred(case.arrays["in/frame_uint8"][None], case.config["crop_size"])
        clip = torch.from_numpy(frame).permute(3, 0, 1, 2)[None]
        yield golden.compare(case, "out/world_model/encode", encode_frames(encoder, clip))
    tokens = case.tensor("out/tokens_layernormed")
    for module, spec in case.config["modules"].items():
        if spec["cls"] != "v2ac.predictor":
            continue
        predictor = cast(ActionPredictor, golden.build(case, module))
        given = Given(case.given("actions"), case.given("states"))
        if predictor.shape.extrinsics:
            given = given._replace(extrinsics=case.given("extrinsics"))
        end = module.removeprefix("predictor")
        yield from _stepped(case, predictor, tokens, given, end)
        yield from _imagined(case, predictor, tokens, given, f"out/train{end}")
    world = World(cast(ActionPredictor, golden.build(case, "predictor")).act, replan.move)
    with torch.inference_mode():
        yield from _rolled(case, world, tokens)
        if "in/context_pose" in case.arrays:
            yield from _planned(case, world)


#: What runs a case, by its kind.
KINDS: Mapping[str, Callable[[Case], Iterator[Row]]] = {
    "masks": masks,
    "train20": train20,
    "train21": train21,
    "ac": ac,
    "cem_toy": replan.toy,
}


def _course(config: Mapping[str, Any]) -> Course:
    asked = config["opt"]
    epoch = asked["ipe"]
    return Course(
        start=asked["start_lr"],
        peak=asked["lr"],
        final=asked["final_lr"],
        warmup=int(asked["warmup"] * epoch),
        steps=int(asked["ipe_scale"] * asked["epochs"] * epoch),
        decay=asked["wd"],
        final_decay=asked["final_wd"],
        betas=cast(tuple[float, float], tuple(asked["betas"])),
        eps=asked["eps"],
        momentum=config["ema"],
    )


def _trainer(case: Case, course: Course) -> MaskedTrainer:
    encoder = cast(VideoEncoder, golden.build(case, "encoder"))
    return MaskedTrainer(encoder, cast(MaskPredictor, golden.build(case, "predictor")), course)


def _pair(case: Case, end: str) -> Masks:
    return Masks(case.given(f"mask_enc_{end}"), case.given(f"mask_pred_{end}"))


def _count(case: Case, start: str) -> int:
    return sum(key.startswith(start) for key in case.arrays)


def _present(case: Case, found: Mapping[str, Tensor], tolerance: float) -> Iterator[Row]:
    """Rows of the arrays that the case holds; not every case holds all."""
    for key, value in found.items():
        if key in case.arrays:
            yield golden.compare(case, key, value, tolerance)


def _relative(case: Case, key: str, found: Tensor, floor: float) -> Row:
    """max|Δ| by the size of what is compared, or by `floor` where that is smaller."""
    wanted = case.arrays[key]
    off = (found.double().numpy() - wanted) / np.maximum(np.abs(wanted), floor)
    return Row(case.name, key, float(np.abs(off).max()), NORM)


def _said(trainer: MaskedTrainer, clips: Tensor, pairs: list[Masks], at: str) -> dict[str, Tensor]:
    target = trainer.targets(clips)
    found = {f"{at}/target_layernormed": target}
    for i, pair in enumerate(pairs):
        found[f"{at}/prediction_{i}"] = trainer.predict(clips, pair).targets
        found[f"{at}/loss_mask{i}"] = trainer.losses(clips, [pair])["hidden"]
    return found


def _seen(trainer: MaskedTrainer, clips: Tensor, pairs: list[Masks], at: str) -> dict[str, Tensor]:
    found = {f"{at}/target_layernormed": trainer.targets(clips)}
    grid = trainer.encoder.grid(clips)
    for i, pair in enumerate(pairs):
        said = trainer.predict(clips, pair)
        found[f"{at}/pred_{i}"] = said.targets
        found[f"{at}/distance_{i}"] = 1 / nearness(grid, *pair)
        if said.context is not None:
            found[f"{at}/context_{i}"] = said.context
    return found


def _copied(part: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in part.named_parameters()}


def _gradients(case: Case, key: str, name: str, part: nn.Module) -> Row:
    """Norms of all gradients, in the case's order; -1 where there is none."""
    named = dict(part.named_parameters())
    grads = [named[key].grad for key in case.config["param_order"][name]]
    norms = [torch.tensor(-1.0) if g is None else g.norm() for g in grads]
    return _relative(case, key, torch.stack(norms), 1e-3)


def _moved(
    case: Case, at: str, name: str, part: nn.Module, start: Mapping[str, Tensor]
) -> Iterator[Row]:
    """Gradients of a step that was taken, and the parameters after it."""
    if f"{at}/grad_norm_{name}" in case.arrays:
        yield _gradients(case, f"{at}/grad_norm_{name}", name, part)
    named = dict(part.named_parameters())
    order = case.config["param_order"][name]
    moved = torch.stack([(named[key].detach() - start[key]).norm() for key in order])
    yield _relative(case, f"{at}/update_norm_{name}", moved, 1e-2)
    for key, p in named.items():
        if (full := f"{at}/grad/{name}/{key}") in case.arrays and p.grad is not None:
            yield _relative(case, full, p.grad, float(np.abs(case.arrays[full]).max()))
        if (after := f"{at}/param_after/{name}/{key}") in case.arrays:
            wanted = case.tensor(after)
            gradient = case.arrays.get(f"out/step0/grad/{name}/{key}", np.ones(()))
            sure = torch.tensor(np.abs(gradient) > NOISE)
            found = torch.where(sure, p.detach(), wanted)
            yield golden.compare(case, after, found, PARAMETER)


def _stepped(
    case: Case, predictor: ActionPredictor, tokens: Tensor, given: Given, end: str
) -> Iterator[Row]:
    """All frames at once, and frame by frame on the past's keys and values."""
    frame = predictor.shape.grid.frame
    names = {"predictor_embed": "predictor_embed", "predictor_norm": "predictor_norm"}
    names |= {f"predictor_blocks.{i}": f"block{i}" for i in range(predictor.shape.depth)}
    past, alone = None, []
    for steps in range(1, given.action.shape[1] + 1):
        with torch.inference_mode(), golden.hooks(predictor, list(names)) as seen:
            out = predictor(tokens[:, : steps * frame], given.at(slice(steps)))
        mids = {f"mid/T{steps}{end}/{names[key]}": value for key, value in seen.items()}
        outs = {f"out/T{steps}{end}": out}
        yield from _present(case, mids | outs, golden.TOLERANCE)
        now = tokens[:, (steps - 1) * frame : steps * frame]
        with torch.inference_mode():
            turn = predictor.turn(steps - 1)
            following, past = predictor.step(now, given.at(steps - 1), past, turn)
        alone.append(following)
        outs = {f"out/T{steps}{end}": torch.cat(alone, 1)}
        yield from _present(case, outs, golden.TOLERANCE)


def _imagined(
    case: Case, predictor: ActionPredictor, tokens: Tensor, given: Given, at: str
) -> Iterator[Row]:
    imagined = imagine(predictor, tokens, given, case.config["auto_steps"])
    taught, alone = action_losses(imagined, tokens)
    (taught + alone).backward()  # type: ignore[no-untyped-call]
    found = {"z_tf": imagined.taught, "z_ar": imagined.alone}
    yield from _present(case, {f"{at}/{k}": v for k, v in found.items()}, golden.TOLERANCE)
    losses = {"jloss": taught, "sloss": alone, "loss": taught + alone}
    yield from _present(case, {f"{at}/{k}": v for k, v in losses.items()}, LOSS)
    yield _gradients(case, f"{at}/grad_norm_predictor", "predictor", predictor)


def _rolled(case: Case, world: World, tokens: Tensor) -> Iterator[Row]:
    """Frames and poses that stored actions lead to."""
    start = Moment(tokens[:, : case.config["tokens_per_frame"]], case.given("states")[:, 0])
    moments = rollout(world, start, case.given("actions")[:, : case.config["rollout_steps"]])
    yield golden.compare(case, "out/rollout/frames", torch.stack([m.tokens for m in moments], 1))
    yield golden.compare(case, "out/rollout/poses", torch.stack([m.state for m in moments], 1))


def _planned(case: Case, world: World) -> Iterator[Row]:
    """Plans from one frame to the tokens of another, and energies of stored actions."""
    start = Moment(case.tensor("out/world_model/encode"), case.given("context_pose")[:, 0])
    measured = replan.measure(world, start, case.given("goal_tokens"))
    yield from replan.candidates(case, world, start, measured)
    yield from replan.plans(case, measured, replan.NETWORK)
