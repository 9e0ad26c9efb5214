from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import build
from torch import nn
from torchvision.models import resnet18, resnet50

from digitsum.device import DeviceConfig
from digitsum.errors import CheckpointError, DataError, RecipeError, UsageError, WeightsError
from digitsum.models import architecture, restore
from digitsum.models.cnn import Attention
from digitsum.models.folding import fold_batch_norm

FRESH: dict[str, dict[str, Any]] = {"cnn": {}, "resnet": {"weights": "none"}}
NAME = "resnet50-0676ba61.pth"


class Attack:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.fixture(scope="module")
def original() -> nn.Module:
    """A seeded ResNet-50 of torchvision's, its batch norms moved off their initial values."""
    torch.manual_seed(1)
    model = resnet50(weights=None)
    with torch.no_grad():
        model(torch.rand(2, 3, 40, 84))
    return model.eval()


@pytest.fixture(scope="module")
def file(original: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its state dict in torchvision's format."""
    path: Path = tmp_path_factory.mktemp("weights") / "resnet50.pth"
    torch.save(original.state_dict(), path)
    return path


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torch keeps ImageNet weights: not there yet, and no network to fetch them."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("digitsum.models.resnet.unreachable", lambda url: "no network")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder / NAME


@pytest.mark.parametrize(("arch", "count"), [("cnn", 159_298), ("resnet", 23_503_809)])
def test_all_parameters_of_the_technical_report_train(arch: str, count: int) -> None:
    model = build(arch, 168, FRESH[arch])
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == count
    assert all(p.requires_grad for p in model.parameters())


def described(layer: nn.Module) -> Any:
    name, shapes = type(layer).__name__, [tuple(p.shape) for p in layer.parameters()]
    keys = ("padding", "kernel_size", "p", "output_size")
    return name, shapes[:1], [getattr(layer, key) for key in keys if hasattr(layer, key)]


def test_the_cnn_is_the_technical_reports() -> None:
    def convolution(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]

    attention = Attention(128)
    backbone = [*convolution(1, 32), nn.MaxPool2d(2), *convolution(32, 64), nn.MaxPool2d(2)]
    backbone += [*convolution(64, 128), attention, nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    head = [nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, 128), nn.ReLU()]
    wanted = nn.Sequential(*backbone, *head, nn.Dropout(0.5), nn.Linear(128, 1))
    cnn = build("cnn", 168, {})
    leaves, layers = ([m for m in net.modules() if not list(m.children())] for net in (cnn, wanted))
    for relu in (2, 6):  # ours pools before it: the same function
        layers[relu : relu + 2] = layers[relu + 1], layers[relu]
    assert [described(m) for m in leaves] == [described(m) for m in layers]
    for own, other in zip(cnn.parameters(), wanted.parameters(), strict=True):
        other.data.copy_(own.data)
    strips = torch.rand(6, 1, 40, 168)
    for mode in (True, False):
        values = []
        for net in (cnn.train(mode), wanted.train(mode)):
            torch.manual_seed(0)  # of dropout
            values.append(net(strips).flatten())
        torch.testing.assert_close(*values)
    for output in values:
        output.sum().backward()
    for own, other in zip(cnn.parameters(), wanted.parameters(), strict=True):
        torch.testing.assert_close(own.grad, other.grad)


def test_attention_multiplies_by_a_sigmoid() -> None:
    attention, x = Attention(6), torch.randn(2, 6, 5, 7)
    weight, bias = attention.parameters()
    logits = (x * weight.view(1, 6, 1, 1)).sum(1, keepdim=True) + bias
    torch.testing.assert_close(attention(x), x / (1 + torch.exp(-logits)))


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("arch", "width"), [("cnn", 168), ("resnet", 84)])
def test_values_are_float32_one_a_strip(arch: str, width: int, precision: str) -> None:
    compute = DeviceConfig.resolve("cpu", precision)
    model, strips = compute.place(build(arch, width, FRESH[arch])), torch.rand(9, 1, 40, width)
    with torch.no_grad(), compute.autocast():
        values = model(strips)
        first = next(m for m in model.modules() if isinstance(m, nn.Conv2d))(strips)
    assert first.dtype == (torch.bfloat16 if precision == "bf16" else torch.float32)
    assert (values.shape, values.dtype) == ((9,), torch.float32)
    assert not torch.equal(values, values.bfloat16().float())  # the head does not round


@pytest.mark.parametrize("arch", ["cnn", "resnet"])
def test_another_width_is_refused_with_both(arch: str) -> None:
    with pytest.raises(DataError, match=r"84 pixels.* 168 "):
        build(arch, 168, FRESH[arch])(torch.zeros(1, 1, 40, 84))


@pytest.mark.slow
@pytest.mark.parametrize(("arch", "width"), [("cnn", 60), ("resnet", 60), ("reader", 60)])
def test_folded_batch_norm_changes_nothing(arch: str, width: int) -> None:
    torch.manual_seed(0)
    model = build(arch, width, FRESH.get(arch, {}))
    strips = torch.rand(4, 1, 40, width)
    with torch.no_grad():
        for module in model.modules():  # as training may leave them
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.2)
        for _ in range(3):
            model.train()(torch.rand(8, 1, 40, width))
        before = model.eval()(strips)
        after = fold_batch_norm(model)(strips)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.modules())
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)


def test_a_sum_is_the_value_rounded_half_to_even() -> None:
    predictions = build("cnn", 84, {}).predict(torch.tensor([0.5, 1.5, 2.5, -0.5, 17.49]), 4)
    assert predictions.sum.tolist() == [0, 2, 2, 0, 17]
    assert (predictions.sum.dtype, predictions.value.dtype) == (np.int64, np.float32)
    assert predictions.confidence is predictions.digits is predictions.positions is None


def test_an_unknown_architecture_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="'vgg': choose from cnn, resnet, reader"):
        build("vgg", 84, {})


@pytest.mark.parametrize(
    ("arch", "key", "value"),
    [
        ("cnn", "dropout", 1.5),
        ("cnn", "loss", "huber"),
        ("cnn", "dropuot", 0.5),
        ("resnet", "first_conv", "x"),
        ("cnn", "dropout", float("nan")),
        ("cnn", "focal_beta", float("nan")),
        ("cnn", "focal_gamma", -1.0),
    ],
)
def test_a_bad_option_is_named(arch: str, key: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=key):
        build(arch, 84, FRESH[arch] | {key: value})


@pytest.mark.parametrize("arch", ["cnn", "resnet"])
def test_a_restored_model_reads_as_the_one_it_came_from(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch() -> None:
        pytest.fail("restoring asks for weights from elsewhere")

    monkeypatch.setattr("digitsum.models.resnet.imagenet_weights", fetch)
    model, strips = build(arch, 84, FRESH[arch]), torch.rand(4, 1, 40, 84)
    with torch.no_grad():
        model(strips)  # moves the batch norms
        expected = model.eval()(strips)
        restored = restore(architecture(arch), 84, {}, model.state_dict())
        model.head.apply(lambda layer: [p.zero_() for p in layer.parameters()])
        assert not restored.training
        assert torch.equal(restored(strips), expected)  # its weights are its own
    assert all(p.requires_grad for p in restored.parameters())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head.0.weight": None}, "'head.0.weight' is missing"),
        ({"head.9.weight": torch.ones(1)}, "'head.9.weight' is unknown"),
        ({"head.6.bias": torch.ones(2)}, r"'head.6.bias' has shape \(2,\), expected \(1,\)"),
        ({"head.6.bias": torch.ones(1).double()}, "'head.6.bias' holds torch.float64, expected"),
    ],
)
def test_weights_that_do_not_fit_are_named(change: dict[str, Any], words: str) -> None:
    weights = build("cnn", 84, {}).state_dict() | change
    weights = {name: tensor for name, tensor in weights.items() if tensor is not None}
    with pytest.raises(CheckpointError, match=words):
        restore(architecture("cnn"), 84, {}, weights)


def test_every_weight_of_a_resnet_is_in_its_place(original: nn.Module, file: Path) -> None:
    want = {k: t for k, t in original.state_dict().items() if not k.startswith("fc.")}
    got = build("resnet", 84, {"weights": str(file)}).backbone.state_dict()
    rgb, grey = want.pop("conv1.weight"), got.pop("conv1.weight")
    torch.testing.assert_close(grey, rgb[:, 0:1] + rgb[:, 1:2] + rgb[:, 2:3])
    assert got.keys() == want.keys()
    assert all(torch.equal(got[name], want[name]) for name in want)


def test_a_grey_strip_has_the_features_of_its_rgb_copy(original: nn.Module, file: Path) -> None:
    model = build("resnet", 84, {"weights": str(file)}).eval()
    body = nn.Sequential(*list(original.children())[:-1], nn.Flatten())
    grey = torch.rand(2, 1, 40, 84)
    with torch.no_grad():
        want, got = body(grey.expand(-1, 3, -1, -1)), model.backbone(grey)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * want.max().item())


def test_a_fresh_first_convolution_leaves_the_rest(original: nn.Module, file: Path) -> None:
    options, want = {"weights": str(file), "first_conv": "fresh"}, original.state_dict()
    first, second = (build("resnet", 84, options).backbone.state_dict() for _ in range(2))
    assert first["conv1.weight"].shape == (64, 1, 7, 7)
    assert not torch.equal(first.pop("conv1.weight"), second["conv1.weight"])  # both drawn anew
    assert all(torch.equal(first[name], want[name]) for name in first)


def test_the_first_convolution_of_grey_weights_is_taken_as_it_is(original: nn.Module) -> None:
    grey = original.state_dict()
    grey["conv1.weight"] = torch.rand(64, 1, 7, 7)
    torch.save(grey, "grey.pth")
    got = build("resnet", 84, {"weights": "grey.pth"}).backbone.state_dict()
    assert torch.equal(got["conv1.weight"], grey["conv1.weight"])
    assert torch.equal(got["layer1.0.conv1.weight"], grey["layer1.0.conv1.weight"])


def holding(content: Any) -> Any:
    return lambda path: torch.save(content(), path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "does not exist"),
        (Path.mkdir, "is a folder"),
        (Path.touch, "is empty"),
        (lambda path: path.write_text("hello world"), "damaged"),
        (lambda path: path.write_text("<html>404</html>"), "an HTML page"),
        (lambda path: path.write_bytes(b"PK\3\4" + bytes(9_999)), "cannot be read|damaged"),
        (holding(lambda: {"conv1.weight": Attack()}), "more than tensors"),
        (holding(lambda: [1]), "no state dict"),
        (holding(dict), "not a ResNet-50"),
        (holding(lambda: resnet18().state_dict()), "not a ResNet-50"),
        (holding(lambda: {0: 1}), "no state dict"),
    ],
)
def test_a_file_without_the_weights_is_refused_by_name(make: Any, words: str) -> None:
    make(Path("given.pth"))
    with pytest.raises(WeightsError, match=rf"given\.pth .*({words})"):
        build("resnet", 84, {"weights": "given.pth"})
    assert not Path("executed").exists()


def test_imagenet_weights_that_cannot_be_fetched_say_where_to_put_them(cached: Path) -> None:
    with pytest.raises(WeightsError, match="no network") as caught:
        build("resnet", 84, {"weights": "imagenet"})
    assert f"put {NAME} into {cached.parent}, or " in str(caught.value)


def test_cached_imagenet_weights_are_used(cached: Path, file: Path, original: nn.Module) -> None:
    cached.symlink_to(file)  # another hash than its name says: torch.hub checks downloads alone
    got = build("resnet", 84, {"weights": "imagenet"}).backbone.layer4[2].conv3.weight
    assert torch.equal(got, original.get_parameter("layer4.2.conv3.weight"))


def test_a_download_is_checked_by_its_hash(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(url: str, path: str, hash_prefix: str | None, progress: bool) -> None:
        raise RuntimeError(f"invalid hash value (expected {hash_prefix!r})")

    monkeypatch.setattr("digitsum.models.resnet.unreachable", lambda url: None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(WeightsError, match=f"expected '0676ba61'.*{NAME}"):
        build("resnet", 84, {"weights": "imagenet"})


@pytest.mark.parametrize("text", ["", "<html>404</html>", "hello world"])
def test_damaged_imagenet_weights_say_where_they_lie(text: str, cached: Path) -> None:
    cached.write_text(text)
    with pytest.raises(WeightsError, match=f"cannot be used .* {NAME} into {cached.parent}"):
        build("resnet", 84, {"weights": "imagenet"})


def test_code_in_cached_imagenet_weights_is_never_executed(cached: Path) -> None:
    torch.save({"conv1.weight": Attack()}, cached)
    with pytest.raises(WeightsError):
        build("resnet", 84, {"weights": "imagenet"})
    assert not Path("executed").exists()


def test_pixels_are_divided_by_255_exactly() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(2, 8, 16)
    strips = DeviceConfig.resolve("cpu", "fp32").normalize(torch.from_numpy(pixels)).numpy()
    assert strips.dtype == np.float32
    assert np.array_equal(strips, pixels[:, None].astype(np.float32) / np.float32(255))


@pytest.mark.parametrize(
    "device",
    [
        *("gpu", "", "CPU", "cpu:0", "cuda:x", "cuda:-1", "meta"),
        "cpu:",
        "cuda:²",
    ],
)
def test_an_unknown_device_lists_those_there_are(device: str) -> None:
    with pytest.raises(UsageError, match="choose from auto, cpu, cuda, cuda:N, mps"):
        DeviceConfig.resolve(device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_cuda_is_refused_where_there_is_none(device: str) -> None:
    with pytest.raises(UsageError, match=f"--device {device}: this machine has 0 CUDA devices"):
        DeviceConfig.resolve(device)


def test_an_unknown_precision_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="--precision fp16: choose from auto, fp32, bf16"):
        DeviceConfig.resolve("cpu", "fp16")


@pytest.mark.skipif(
    not hasattr(torch.cpu, "get_capabilities"), reason="this torch does not tell the processor"
)
@pytest.mark.parametrize(
    ("processor", "precision"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, "bf16"),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, "fp32"),
        ({"cpu_name": "AMD Zen4", "avx512_bf16": True}, "bf16"),
        ({"cpu_name": "Intel Core", "avx2": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_takes_bf16_where_it_is_faster(
    processor: dict[str, object], precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: processor)
    assert DeviceConfig.resolve("cpu").precision == precision
