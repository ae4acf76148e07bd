"""The video encoder of V-JEPA 2.0 and 2.1: patches in, tokens out.

Owns: the network, parameters named as Meta names them. Does not know: files, preprocessing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from jepad.errors import SettingError
from jepad.jepa.attention import Block, Turn
from jepad.jepa.video.shape import CHANNELS, EncoderShape
from jepad.jepa.video.turns import chosen, whole
from jepad.vision.grid import Grid

#: Indices [B, K] of the tokens that are kept.
Masks = Sequence[Tensor]


class PatchEmbed(nn.Module):
    """A convolution whose stride is its kernel: one product over patches cut already."""

    def __init__(self, shape: EncoderShape, tubelet: int) -> None:
        super().__init__()
        kernel = (tubelet, shape.patch, shape.patch)
        self.proj = nn.Conv3d(CHANNELS, shape.width, kernel, kernel)

    def forward(self, patches: Tensor) -> Tensor:
        """patches [B, K, P] -> [B, K, D]."""
        return functional.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class VideoEncoder(nn.Module):
    """Takes Meta's state dict strictly (`module.backbone.` cut off). For any size and length that
    patches and tubelets divide."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape, shape.tubelet)
        self.patch_embed_img = PatchEmbed(shape, 1) if shape.image else None
        self.blocks = nn.ModuleList(Block(shape.block) for _ in range(shape.depth))
        eps = shape.block.eps
        if shape.levels:
            self.norms_block = nn.ModuleList(
                nn.LayerNorm(shape.width, eps=eps) for _ in shape.levels
            )
        else:
            self.norm = nn.LayerNorm(shape.width, eps=eps)
        if shape.modality:
            self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, shape.width))
            self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, shape.width))

    def forward(self, patches: Tensor, turn: Turn, image: bool = False) -> Tensor:
        """patches [B, K, P] as `vision.patches.unfold` cuts them, turn of their places
        -> tokens [B, K, D], after the last norm. What is exported and served.

        `image`: patches of one frame, [B, K, P / tubelet] (2.1 only).
        """
        return self.read(patches, turn, [self.shape.depth - 1], image)[0]

    def read(
        self, patches: Tensor, turn: Turn, layers: Sequence[int], image: bool = False
    ) -> list[Tensor]:
        """As `forward`, the tokens after each of some blocks, normed: [B, K, D] each, in the order
        of the blocks. 2.0 has one norm for all; 2.1 one for each of `shape.levels`."""
        return self._run(self._embed(patches, image), turn, layers)

    def encode(self, video: Tensor, masks: Masks | None = None) -> Tensor:
        """video [B, 3, T, H, W] -> tokens [B, T·H·W, D]; with M masks [B, K] -> [M * B, K, D],
        mask by mask. Tokens not kept are dropped before the first block: they can't leak.

        SettingError: a clip that patches don't divide, a mask of other tokens.
        """
        return self.levels(video, masks, [self.shape.depth - 1])[0]

    def levels(
        self, video: Tensor, masks: Masks | None = None, layers: Sequence[int] | None = None
    ) -> list[Tensor]:
        """As `encode`, after each of some blocks (default: `shape.levels`); Meta's hierarchical
        output is `torch.cat(levels, 2)`."""
        grid = self.grid(video)
        image = self.shape.image and video.shape[2] == 1
        turn = whole(self.shape.rope, grid, str(video.device))
        x = self._embed(self.patches(video), image)
        if masks is not None:
            keep = torch.cat([self._checked(mask, grid, len(x)) for mask in masks])
            x = x.repeat(len(masks), 1, 1)
            x = x.gather(1, keep[..., None].expand(-1, -1, x.shape[2]))
            turn = chosen(turn, keep)
        return self._run(x, turn, self.shape.levels if layers is None else layers)

    def grid(self, video: Tensor) -> Grid:
        """Of a clip [B, 3, T, H, W]. SettingError: not a clip that this model can take."""
        if video.ndim != 5 or video.shape[1] != CHANNELS:
            raise SettingError(f"a clip is [B, 3, T, H, W], not {list(video.shape)}")
        return self.shape.grid_of(*video.shape[2:])

    def patches(self, video: Tensor) -> Tensor:
        """A clip [B, 3, T, H, W], cut: [B, K, P]; `vision.patches.unfold` is the same in numpy."""
        grid, side = self.grid(video), self.shape.patch
        cut = video.reshape(
            *(len(video), CHANNELS, grid.steps, -1),
            *(grid.rows, side, grid.columns, side),
        )
        return cut.permute(0, 2, 4, 6, 1, 3, 5, 7).reshape(len(video), grid.tokens, -1)

    def _embed(self, patches: Tensor, image: bool) -> Tensor:
        embed = self.patch_embed_img if image else self.patch_embed
        if embed is None:
            raise SettingError("this model has no patch embedding for single images: repeat them")
        x: Tensor = embed(patches)
        if self.shape.modality:
            x = x + (self.img_mod_embed if image else self.video_mod_embed)
        return x

    def _run(self, x: Tensor, turn: Turn, layers: Sequence[int]) -> list[Tensor]:
        norms = {layer: self._norm(layer) for layer in layers}
        if not norms:
            raise SettingError("no block asked for: 2.0 reads out none by itself")
        out = []
        for i, block in enumerate(self.blocks[: max(norms) + 1]):
            x = block(x, turn=turn)
            if i in norms:
                out.append(norms[i](x))
        return out

    def _norm(self, layer: int) -> nn.Module:
        """Of the tokens after this block."""
        if not self.shape.levels and 0 <= layer < self.shape.depth:
            return self.norm
        if layer not in self.shape.levels:
            raise SettingError(
                f"block {layer} can't be read: this model has {self.shape.depth} blocks and norms"
                f" for {', '.join(map(str, self.shape.levels)) or 'all of them'}"
            )
        return self.norms_block[self.shape.levels.index(layer)]

    def _checked(self, mask: Tensor, grid: Grid, batch: int) -> Tensor:
        if mask.ndim != 2 or len(mask) != batch or not mask.shape[1]:
            raise SettingError(f"a mask of {batch} clips is [{batch}, K], not {list(mask.shape)}")
        if int(mask.min()) < 0 or int(mask.max()) >= grid.tokens:
            raise SettingError(f"a mask keeps tokens that a grid of {grid.tokens} doesn't have")
        return mask.to(torch.int64)
