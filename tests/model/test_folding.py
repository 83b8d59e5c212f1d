from collections.abc import Callable

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ram_model.config import variant
from ram_model.folding import FoldedRam, FoldedWindowAttention
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.networks.tag2text import Tag2Text


def _ram() -> Ram:
    torch.manual_seed(0)
    return Ram(variant("tiny")).eval()


def _ram_plus() -> RamPlus:
    torch.manual_seed(0)
    return RamPlus(variant("tiny", kind="ram_plus")).eval()


def _tag2text() -> Tag2Text:
    torch.manual_seed(0)
    return Tag2Text(variant("tiny", kind="tag2text")).eval()


def _mini() -> Ram:
    torch.manual_seed(0)
    return Ram(variant("mini", num_tags=40)).eval()


def _images(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 3, 128, 128, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("make", [_ram, _ram_plus, _tag2text, _mini])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float64, 1e-12)], ids=["fp32", "fp64"]
)
def test_scores_are_those_of_the_plain_model(
    make: Callable[[], Ram], dtype: torch.dtype, tolerance: float
) -> None:
    model = make().to(dtype)
    with torch.no_grad():
        model.classifier.get_parameter("weight").normal_(std=0.3)
        for name, table in model.named_parameters():
            if name.endswith("relative_position_bias_table"):
                table.normal_()  # trained tables are not near zero
    images = _images(2).to(dtype)
    with torch.inference_mode():
        plain = model(images).sigmoid()
        difference = FoldedRam(model)(images).sigmoid() - plain
    assert difference.abs().max() <= tolerance
    assert plain.std() > 1e-2  # otherwise this test says little


@pytest.mark.parametrize("make", [_ram, _ram_plus, _tag2text])
def test_decoder_is_bit_equal(make: Callable[[], Ram]) -> None:
    model = make()
    tokens = torch.randn(2, 17, model.config.token_dim, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        plain = model.decode_tags(tokens, model.label_queries(tokens))
        assert torch.equal(FoldedRam(model).decode_tags(tokens), plain)


def test_every_block_is_folded_and_the_model_is_left_as_it_was() -> None:
    model = _ram()
    before = {name: (id(t), t.clone()) for name, t in model.state_dict(keep_vars=True).items()}
    folded = FoldedRam(model)
    windows = [m for m in folded.modules() if isinstance(m, FoldedWindowAttention)]
    assert [len(m.bias) for m in windows] == [1, 64, 1, 16, 1, 4, 1, 1]  # shifted blocks: masks
    after = model.state_dict(keep_vars=True)
    assert {name: id(t) for name, t in after.items()} == {n: i for n, (i, _) in before.items()}
    assert all(torch.equal(after[name], old) for name, (_, old) in before.items())
    assert not any(isinstance(m, FoldedWindowAttention) for m in model.modules())
    assert {id(p) for p in folded.parameters()} <= {id(p) for p in model.parameters()}


def test_constants_cost_nothing_per_call() -> None:
    """Saved per call of RAM: the label projection, and the first layer's query projection."""
    model = _ram()
    saved = _flops(model) - _flops(FoldedRam(model))
    assert saved == 2 * 29 * (512 * 64 + 64 * 64)
    plus = _ram_plus()
    assert _flops(plus) == _flops(FoldedRam(plus))  # its queries depend on the image


def _flops(model: torch.nn.Module) -> int:
    """Return the FLOPs of the linear layers; those of fused attention are not counted on a CPU."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(_images(2))
    return counter.flop_counts["Global"][torch.ops.aten.addmm]


def test_training_mode_is_refused() -> None:
    model = _ram()
    folded = FoldedRam(model)
    with pytest.raises(RuntimeError, match="cannot be trained"):
        folded.train()
    assert not any(module.training for module in folded.modules())
    with pytest.raises(ValueError, match="call its eval"):
        FoldedRam(model.train())


def test_changed_weights_are_refused_until_folded_again() -> None:
    model = _ram()
    folded = FoldedRam(model)
    model(_images(1)).sum().backward()
    torch.optim.SGD(model.parameters(), lr=1e-4).step()
    with torch.inference_mode():
        with pytest.raises(RuntimeError, match="fold the model again"):
            folded(_images(1))
        again, plain = FoldedRam(model)(_images(1)), model(_images(1))
    assert (again.sigmoid() - plain.sigmoid()).abs().max() <= 5e-6


def test_another_dtype_or_device_is_no_change_of_weights() -> None:
    folded = FoldedRam(_ram())
    half = folded.to(torch.bfloat16)
    with torch.inference_mode():
        assert half(_images(1).to(torch.bfloat16)).isfinite().all()


def test_a_subset_folds_to_its_columns() -> None:
    model = _ram()
    with torch.inference_mode():
        whole = FoldedRam(model)(_images(2)).sigmoid()
        part = FoldedRam(model.select_tags([20, 3]))(_images(2)).sigmoid()
    assert (part - whole[:, [20, 3]]).abs().max() <= 1e-6
