"""`transformers` beside our encoder, predictor and probe: the same random weights in one run, and
the golden case of its key scheme.

Owns: the sizes, the translation of a state dict there and back. Does not know: the key names.

What differs by design is made equal: its predictor gets the context cut from an encoder that saw
every token, its probe norms with 1e-6 and the encoder's heads, its position ids come from the
configured crop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench import golden
from bench.controls import Control, gathered
from bench.golden import TOLERANCE, Case, Row
from jepad.errors import ModelError
from jepad.jepa.video.encoder import VideoEncoder
from jepad.jepa.video.predictor import Asked, MaskPredictor
from jepad.jepa.video.probe import AttentiveProbe
from jepad.jepa.video.shape import EncoderShape, PredictorShape, ProbeShape
from jepad.learn.video import keys

CLASSES = 5
MASK_TOKENS = 3


@dataclass(frozen=True, slots=True)
class Peer:
    """A small model and what it is shown."""

    width: int = 96
    depth: int = 2
    heads: int = 3
    ratio: float = 4.0  # of the MLP
    size: int = 64
    frames: int = 8
    predictor: tuple[int, int] = (64, 2)  # width, heads
    #: How much of the clip is context; what is asked for is the rest of it.
    context: float = 0.4

    @property
    def name(self) -> str:
        """Sizes, for a row."""
        return f"{self.width}/{self.depth}/{self.heads} {self.size}px {self.frames}f"

    @property
    def shapes(self) -> tuple[EncoderShape, PredictorShape, ProbeShape]:
        """Ours."""
        encoder = EncoderShape(
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            hidden=int(self.width * self.ratio),
            layout="tiled",
            size=self.size,
            frames=self.frames,
        )
        width, heads = self.predictor
        predictor = PredictorShape(
            width=width,
            depth=2,
            heads=heads,
            hidden=4 * width,
            source=self.width,
            output=self.width,
            mask_tokens=MASK_TOKENS,
            grid=encoder.grid,
            layout="tiled",
        )
        return encoder, predictor, _probe(encoder)


PEERS = (
    Peer(),
    Peer(128, 3, 4, size=96, frames=4, context=0.15),
    Peer(80, 2, 2, 48 / 11, size=48, frames=16, predictor=(48, 3), context=0.7),
    Peer(64, 4, 1, size=32, frames=128),
    Peer(176, 2, 2, size=128, frames=2),  # a head of 88, no multiple of 32: as in ViT-g's probes
)


class Ours(NamedTuple):
    """The three of one peer, loaded."""

    encoder: VideoEncoder
    predictor: MaskPredictor
    probe: AttentiveProbe


def run(case: Case) -> Iterator[Row]:
    """The golden case of kind "hf": its weights written under the other key scheme and read back,
    then every stored output of both."""
    theirs = _written(case)
    yield from _read_back(case, theirs)
    parts = ("encoder", "predictor", "classifier")
    encoder, predictor, probe = (golden.build(case, name) for name in parts)
    assert isinstance(encoder, VideoEncoder)
    assert isinstance(predictor, MaskPredictor)
    video, asked = case.given("video"), Asked(case.given("mask_x"), case.given("mask_y"))
    with torch.inference_mode():
        tokens = encoder.encode(video)
        found = _answers(predictor, tokens, asked)
        masked = predictor.predict(encoder.encode(video, [asked.context]), asked)
        logits = probe(tokens)
    for name, value in found.items():
        yield golden.compare(case, f"out/hf/{name}", value)
    yield golden.compare(case, "out/hf/classifier_logits", logits)
    yield golden.compare(case, "out/meta/encoder", tokens)
    unmasked = found["predictor_last_hidden_state"]
    yield golden.compare(case, "out/meta/predictor_unmasked_encoder", unmasked)
    yield golden.compare(case, "out/meta/predictor_masked_encoder", masked.targets)
    yield golden.compare(case, "out/meta/classifier_logits", logits)


def peers(chosen: Sequence[Peer] = PEERS) -> Iterator[Row]:
    """`transformers` and ours side by side. ModuleNotFoundError: it isn't installed."""
    for seed, peer in enumerate(chosen):
        torch.manual_seed(seed)
        model = theirs(peer)
        video, asked = _shown(peer)
        ours = read(peer, model.state_dict())
        with torch.inference_mode():
            hf = _asked_of_theirs(model.vjepa2, video, asked)
            tokens = ours.encoder.encode(video)
            found = {
                **_answers(ours.predictor, tokens, asked),
                "classifier_logits": ours.probe(tokens),
            }
            hf["classifier_logits"] = model(_frames_first(video)).logits
        for name, value in found.items():
            delta = golden.difference(value, hf[name].numpy())
            yield Row(f"transformers {peer.name}", name, delta, TOLERANCE)


def controls(peer: Peer = PEERS[0]) -> Iterator[Control]:
    """What the comparison must notice: our own faults beside `transformers`."""
    torch.manual_seed(0)
    model = theirs(peer)
    video, asked = _shown(peer)
    with torch.inference_mode():
        hf = _asked_of_theirs(model.vjepa2, video, asked)
        ours = read(peer, model.state_dict())
        masked = ours.encoder.encode(video, [asked.context])
        leaked = golden.difference(masked, hf["masked_hidden_state"].numpy())
        ours.encoder.shape = replace(ours.encoder.shape, layout="interleaved")
        relaid = golden.difference(ours.encoder.encode(video), hf["last_hidden_state"].numpy())
    name = f"transformers {peer.name}"
    yield Control(name, "tokens dropped before the encoder, its mask leaks", leaked, 0.05)
    yield Control(name, "the other RoPE layout", relaid, 0.05)


def read(peer: Peer, theirs: Mapping[str, Tensor]) -> Ours:
    """Our three models with weights of a VJEPA2ForVideoClassification, loaded strictly.

    ModelError: a key on one side only.
    """
    encoder, predictor, probe = peer.shapes
    ours = Ours(VideoEncoder(encoder), MaskPredictor(predictor), AttentiveProbe(probe))
    left = {keys.base(key): value for key, value in theirs.items()}
    for part, model in zip(("encoder", "predictor", "probe"), ours, strict=True):
        model.load_state_dict(_translated(part, list(model.state_dict()), left))
        model.eval()
    read_keys = {
        piece.key
        for part, model in zip(("encoder", "predictor", "probe"), ours, strict=True)
        for key in model.state_dict()
        for piece in keys.pieces(part, key)
    }
    if unread := set(left) - read_keys:
        raise ModelError(f"transformers has weights that nothing read: {', '.join(sorted(unread))}")
    return ours


def _translated(part: str, wanted: Sequence[str], left: Mapping[str, Tensor]) -> dict[str, Tensor]:
    out = {}
    for key in wanted:
        pieces = keys.pieces(part, key)
        if not pieces or any(piece.key not in left for piece in pieces):
            raise ModelError(f"transformers has no weight for {part}.{key}")
        rows = [left[p.key] if p.row is None else left[p.key][p.row] for p in pieces]
        out[key] = torch.cat(rows) if len(rows) > 1 else rows[0]
    return out


def _answers(predictor: MaskPredictor, tokens: Tensor, asked: Asked) -> dict[str, Tensor]:
    """Ours under the names of its outputs."""
    every = torch.arange(tokens.shape[1]).expand(len(tokens), -1)
    context = gathered(tokens, asked.context)
    default = predictor.predict(tokens, Asked(every, every)).targets
    return {
        "last_hidden_state": tokens,
        "masked_hidden_state": context,
        "target_hidden_state": gathered(tokens, asked.targets),
        "predictor_last_hidden_state": predictor.predict(context, asked).targets,
        "default_predictor_last_hidden_state": default,
    }


def _asked_of_theirs(model: Any, video: Tensor, asked: Asked) -> dict[str, Tensor]:
    frames = _frames_first(video)
    out = model(frames, context_mask=[asked.context], target_mask=[asked.targets])
    return {
        "last_hidden_state": out.last_hidden_state,
        "masked_hidden_state": out.masked_hidden_state,
        "target_hidden_state": out.predictor_output.target_hidden_state,
        "predictor_last_hidden_state": out.predictor_output.last_hidden_state,
        "default_predictor_last_hidden_state": model(frames).predictor_output.last_hidden_state,
    }


def _frames_first(video: Tensor) -> Tensor:
    return video.transpose(1, 2)


def theirs(peer: Peer) -> Any:
    """A VJEPA2ForVideoClassification with every parameter random: none may be dropped unseen."""
    from transformers import VJEPA2Config, VJEPA2ForVideoClassification

    width, heads = peer.predictor
    config = VJEPA2Config(
        crop_size=peer.size,
        frames_per_clip=peer.frames,
        hidden_size=peer.width,
        num_attention_heads=peer.heads,
        num_hidden_layers=peer.depth,
        mlp_ratio=peer.ratio,
        pred_hidden_size=width,
        pred_num_attention_heads=heads,
        pred_num_hidden_layers=2,
        pred_num_mask_tokens=MASK_TOKENS,
    )
    config.num_labels = CLASSES
    model: Any = VJEPA2ForVideoClassification(config)
    model.eval()
    with torch.no_grad():
        for parameter in model.parameters():
            fan = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.add_(torch.randn_like(parameter) * fan**-0.5)
    return model


def _shown(peer: Peer) -> tuple[Tensor, Asked]:
    tokens = peer.shapes[0].grid.tokens
    video = torch.randn(2, 3, peer.frames, peer.size, peer.size)
    order = torch.stack([torch.randperm(tokens) for _ in range(2)])
    cut = max(int(tokens * peer.context), 1)
    return video, Asked(order[:, :cut].sort(1).values, order[:, cut:].sort(1).values)


def _probe(encoder: EncoderShape) -> ProbeShape:
    """With its eps and heads, that is; the published probes have 1e-5 and 16."""
    return ProbeShape(
        width=encoder.width,
        heads=encoder.heads,
        depth=4,
        classes=CLASSES,
        hidden=4 * encoder.width,  # whatever the encoder's ratio
        eps=1e-6,
    )


def _written(case: Case) -> dict[str, Tensor]:
    """The case's weights under its own map of keys."""
    out: dict[str, Any] = {}
    for entry in case.config["key_map"]:
        value = case.tensor("param/" + entry["meta"].replace(".", "/", 1))
        verb, *rest = entry["op"].split()
        if verb == "chunk":
            value = value.chunk(int(rest[2]))[int(rest[0])]
        if verb == "stack":
            out.setdefault(entry["hf"], []).append(value)
        else:
            out[entry["hf"]] = value
    return {key: torch.stack(v) if isinstance(v, list) else v for key, v in out.items()}


def _read_back(case: Case, theirs: Mapping[str, Tensor]) -> Iterator[Row]:
    """Our map of keys finds Meta's tensors again, to the bit."""
    for part, module in (("encoder",) * 2, ("predictor",) * 2, ("probe", "classifier")):
        wanted = case.parameters(module)
        found = _translated(part, list(wanted), theirs)
        worst = max(golden.difference(found[key], wanted[key].numpy()) for key in wanted)
        yield Row(case.name, f"keys of {part}", worst, 0.0)
