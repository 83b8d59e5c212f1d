"""Folding: what never changes from image to image is computed once, for inference.

- RAM: the label queries and their projection in the first decoder layer (2.8 % of the FLOPs of
  RAM-large at batch 1). RAM++'s queries depend on the image, so it has no such constants.
- Convolutional encoders: a batch norm is part of the convolution before it, whose weights lie as
  a CPU reads them best (channels last).
- Swin: position bias and shift mask of a block, in one tensor (150 MB in Swin-L at 384 px in
  float32), which a fused attention kernel then takes as it is.

Exact means here: the same sums in another order. The decoder's results are bit-equal to the plain
model's; the encoder's are not, because the fused kernel rounds elsewhere than the plain attention:
scores agree within 5e-6 in float32, and within 1e-12 in float64.

Shape legend as in `ram_model.networks.ram`, and W windows per image or 1, N tokens per window.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_weights

from ram_model.networks.efficientnet_lite import FrozenNorm
from ram_model.networks.image_encoder import ConvEncoder
from ram_model.networks.ram import Ram
from ram_model.networks.swin import SwinTransformerBlock, WindowAttention


class FoldedRam(nn.Module):
    """A model for inference with its constants computed; the other weights are shared.

    It cannot be trained. When the weights of the model it was made from change, it refuses to
    run: make another one then.
    """

    queries: Tensor | None
    """Label queries [1, C, D]; None where they depend on the image."""
    projected: Tensor | None
    """Their projection in the first decoder layer, [1, H, C, P]; None without layers."""

    @torch.no_grad()
    def __init__(self, model: Ram) -> None:
        """Compute the constants on the model's device, in its dtype.

        Raises:
            ValueError: the model is in training mode.
        """
        if model.training:
            raise ValueError("A model in training mode cannot be folded: call its eval() first.")
        super().__init__()
        self.config = model.config
        weights = (*model.parameters(), *model.buffers())
        self._versions = [(w, w._version) for w in weights if not w.is_inference()]
        self._model = _share(model)
        if isinstance(self._model.image_encoder, ConvEncoder):
            fold_batch_norms(self._model.image_encoder.conv)
        for block in self._model.image_encoder.modules():
            if isinstance(block, SwinTransformerBlock):
                setattr(block, "attn", FoldedWindowAttention(block))  # noqa: B010 - typed otherwise
                block.register_buffer("attn_mask", None)
        queries = projected = None
        if model.queries_are_constant:
            queries = model.label_queries()
            projected = model.tag_decoder.project_queries(queries)
            projected = None if projected is None else projected.contiguous()
        self.register_buffer("queries", queries)
        self.register_buffer("projected", projected)
        super().train(False)

    def forward(self, images_B3SS: Tensor) -> Tensor:
        """Return logits [B, C]; as `Ram.forward`."""
        return self.decode_tags(self.encode_images(images_B3SS))

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return image tokens in label space, [B, T, E]; as `Ram.encode_images`."""
        self._check_unchanged()
        return self._model.encode_images(images_B3SS)

    def decode_tags(self, tokens_BTE: Tensor) -> Tensor:
        """Return logits [B, C] from the result of `encode_images`."""
        self._check_unchanged()
        queries = self.queries
        if queries is None:
            queries = self._model.label_queries(tokens_BTE)
        return self._model.decode_tags(tokens_BTE, queries, self.projected)

    def train(self, mode: bool = True) -> "FoldedRam":
        """Refuse training mode.

        Raises:
            RuntimeError: `mode` is True.
        """
        if mode:
            raise RuntimeError("A folded model cannot be trained: train the model it was made of.")
        return super().train(False)

    def _check_unchanged(self) -> None:
        if torch.compiler.is_compiling():
            return
        if any(parameter._version != version for parameter, version in self._versions):
            raise RuntimeError("The weights changed after folding: fold the model again.")


class FoldedWindowAttention(nn.Module):
    """Window attention with position bias and shift mask in one constant."""

    bias: Tensor
    """[W, heads, N, N]"""

    def __init__(self, block: SwinTransformerBlock) -> None:
        super().__init__()
        plain = block.attn
        assert isinstance(plain, WindowAttention)
        self.num_heads = plain.num_heads
        self.qkv: nn.Module = plain.qkv
        self.proj: nn.Module = plain.proj
        bias_1HNN = plain.position_bias()
        mask_WNN: Tensor | None = block._buffers["attn_mask"]
        with_mask = bias_1HNN if mask_WNN is None else bias_1HNN + mask_WNN.unsqueeze(1)
        self.register_buffer("bias", with_mask)

    def forward(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attended windows; float [B * W, N, channels] in and out, mask is None."""
        count, tokens, _ = windows.shape
        qkv = self.qkv(windows).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.bias
        if len(bias) > 1:
            # A copy per image: on a CPU it is cheaper than heads and windows in one dimension,
            # over which the bias would broadcast, because that copies queries, keys and values.
            bias = bias.repeat(count // len(bias), 1, 1, 1)
        attended = F.scaled_dot_product_attention(*qkv.unbind(0), attn_mask=bias)
        return self.proj(attended.transpose(1, 2).reshape(count, tokens, -1))


def fold_batch_norms(module: nn.Module) -> None:
    """Make each batch norm part of the convolution before it, and leave its activation.

    The module's convolutions and norms are replaced, not changed: others may share them.
    """
    before: tuple[str, nn.Conv2d] | None = None
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            before = name, child
        elif isinstance(child, FrozenNorm):
            assert before is not None, name
            setattr(module, before[0], _folded_convolution(before[1], child))
            setattr(module, name, child.act)
        else:
            fold_batch_norms(child)


def _folded_convolution(conv: nn.Conv2d, norm: FrozenNorm) -> nn.Conv2d:
    names = ("running_mean", "running_var", "weight", "bias")
    mean, variance, scale, shift = (norm.get_buffer(name) for name in names)
    fused = fuse_conv_bn_weights(conv.weight, conv.bias, mean, variance, norm.eps, scale, shift)
    folded = copy.deepcopy(conv, {id(conv.weight): conv.weight, id(conv.bias): conv.bias})
    weight, folded.bias = (nn.Parameter(part.detach(), requires_grad=False) for part in fused)
    folded.weight = nn.Parameter(
        weight.detach().contiguous(memory_format=torch.channels_last), requires_grad=False
    )
    return folded


def _share(model: Ram) -> Ram:
    """Return a copy of the module tree around the same parameters and buffers."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)
