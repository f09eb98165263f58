"""Writes the reference networks beside this file: NAME.onnx, NAME.input.npy (float32) and NAME.output.npy (float64).

    python make.py            all of them
    python make.py vgg5 odd   some of them

The weights are random and seeded, then scaled so that values look like those of a trained network on standard-normal
inputs. The networks say the same thing in different ONNX words on purpose (eight spellings of a quadratic, batch norm
kept or folded, three ways to flatten): an importer has to read them all.
The README beside this file tells what each network is.
"""

import copy
import io
import pathlib
import sys
import zlib

import numpy as np
import onnx
import onnx.version_converter
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn
from torch.nn import functional as F

HERE = pathlib.Path(__file__).resolve().parent
OPSET = 16
BATCH = 2
SEED = 5


# ---- activations --------------------------------------------------------------------------------------------------

FORMS = {
    "pow": lambda x, a, b, c: a * x.pow(2) + b * x + c,
    "mul": lambda x, a, b, c: a * (x * x) + b * x + c,
    "left": lambda x, a, b, c: (a * x) * x + (b * x + c),
    "horner": lambda x, a, b, c: (a * x + b) * x + c,
    "horner_left": lambda x, a, b, c: c + x * (b + a * x),
    "square": lambda x, a, b, c: torch.square(x) * a + (x * b + c),
    "sub": lambda x, a, b, c: x * x * a - (c - b * x),
    # the square completed: b and c stand for b / 2a and c - b^2 / 4a here
    "vertex": lambda x, a, b, c: a * (x + b) ** 2 + c,
}


def uniform(low, high, *shape):
    return torch.empty(shape).uniform_(low, high)


class Quadratic(nn.Module):
    """a x^2 + b x + c, learned, one triple for the whole layer, or one for each channel."""

    def __init__(self, form, channels=None):
        super().__init__()
        shape = (1, channels, 1, 1) if channels else ()
        a, b, c = uniform(0.05, 0.25, *shape), uniform(0.4, 1.0, *shape), uniform(-0.2, 0.2, *shape)
        if channels:
            a = a * (2 * torch.bernoulli(torch.full(shape, 0.5)) - 1)
        if form == "vertex":
            b, c = b / (2 * a), c - b * b / (4 * a)
        self.a, self.b, self.c = nn.Parameter(a), nn.Parameter(b), nn.Parameter(c)
        self.form = FORMS[form]

    def forward(self, x):
        return self.form(x, self.a, self.b, self.c)


class Quartic(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.ParameterList([nn.Parameter(torch.tensor(v)) for v in (0.1, 0.8, 0.15, -0.02, 0.004)])

    def forward(self, x):
        c = self.c
        return c[4] * x**4 + c[3] * x**3 + c[2] * x**2 + c[1] * x + c[0]


class Square(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        return x * x if self.form == "mul" else x**2


class Gate(nn.Module):
    """The cubic in place of a sigmoid."""

    def __init__(self, form):
        super().__init__()
        self.p = nn.ParameterList([nn.Parameter(torch.tensor(v)) for v in (0.5, 0.12, -1e-5)])
        self.form = form

    def forward(self, x):
        constant, linear, cubic = self.p
        if self.form == "pow":
            return cubic * x**3 + linear * x + constant
        return (cubic * (x * x) + linear) * x + constant


# ---- layers -------------------------------------------------------------------------------------------------------


def scaled(layer, std, means=None):
    """Marks a layer for `calibrate`: its outputs get this standard deviation. With `means` each unit gets it, around
    a mean of its own, drawn with standard deviation `means`."""
    layer.std, layer.means = std, means
    return layer


def conv(c_in, c_out, kernel=3, **options):
    return scaled(nn.Conv2d(c_in, c_out, kernel, **options), 1.0)


def hidden(c_in, c_out):
    return scaled(nn.Linear(c_in, c_out), 1.0)


def head(c_in, classes):
    return scaled(nn.Linear(c_in, classes), 2.0, means=0.5)


def norm(channels):
    bn = nn.BatchNorm2d(channels, momentum=None)
    nn.init.uniform_(bn.weight, 0.7, 1.3)
    nn.init.normal_(bn.bias, 0.0, 0.2)
    return bn


def pool(padded=False):
    """PyTorch puts a Pad by nothing before an average pool that counts its padding, as average pools do by default."""
    return nn.AvgPool2d(2, count_include_pad=padded)


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class MatMulAdd(nn.Module):
    """A linear layer that is exported as MatMul and Add, not as Gemm."""

    def __init__(self, c_in, c_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_in, c_out) / c_in**0.5)
        self.bias = nn.Parameter(0.1 * torch.randn(c_out))

    def forward(self, x):
        return torch.matmul(x, self.weight) + self.bias


class SqueezeExcite(nn.Module):
    """Global average, FC, quadratic, FC, cubic gate, times the feature map. Three spellings."""

    def __init__(self, channels, style, act, gate):
        super().__init__()
        width = max(4, channels // 16)
        make = (lambda i, o: nn.Conv2d(i, o, 1)) if style == "conv" else nn.Linear
        self.down = scaled(make(channels, width), 0.35, means=0.7)
        self.up = scaled(make(width, channels), 0.5, means=2.0)
        self.act, self.gate, self.style, self.channels = Quadratic(act), Gate(gate), style, channels

    def forward(self, x):
        if self.style == "conv":
            s = x.mean((2, 3), keepdim=True)
        else:
            s = torch.flatten(F.adaptive_avg_pool2d(x, 1), 1)
        s = self.gate(self.up(self.act(self.down(s))))
        if self.style == "unsqueeze":
            s = s[:, :, None, None]
        elif self.style == "reshape":
            s = s.reshape(-1, self.channels, 1, 1)
        return x * s


class Block(nn.Module):
    """A ResNet block with one activation, none after the addition."""

    def __init__(self, c_in, c_out, stride, act, se):
        super().__init__()
        self.body = nn.Sequential(
            conv(c_in, c_out, padding=1, stride=stride, bias=False), norm(c_out), Quadratic(act),
            conv(c_out, c_out, padding=1, bias=False), norm(c_out),
            *([SqueezeExcite(c_out, "conv", act, "horner")] if se else []),
        )
        self.shortcut = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(conv(c_in, c_out, 1, stride=stride, bias=False), norm(c_out))

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


# ---- networks -----------------------------------------------------------------------------------------------------


def hefnet(act="pow", se=False):
    return nn.Sequential(
        conv(4, 64, bias=False), norm(64), Quadratic(act),
        conv(64, 128, groups=8, bias=False), norm(128), Quadratic(act), pool(se),
        conv(128, 256, groups=8, bias=False), norm(256), Quadratic(act), pool(se),
        conv(256, 256, groups=8, bias=False), norm(256),
        *([SqueezeExcite(256, "unsqueeze", act, "pow")] if se else []),
        Quadratic(act), pool(se),
        nn.Flatten(), head(1024, 14),
    )


def hefnet_16_32_64(act="horner_left"):
    return nn.Sequential(
        conv(4, 16, padding=1), norm(16), Quadratic(act),
        conv(16, 32, padding=1, groups=8), norm(32), Quadratic(act), pool(),
        conv(32, 64, padding=1, groups=8), norm(64), Quadratic(act), pool(),
        conv(64, 64, padding=1, groups=8), norm(64), Quadratic(act), pool(),
        nn.Flatten(), head(1024, 14),
    )


def vgg5(act="mul", se=False):
    layers, c_in = [], 4
    for i, c_out in enumerate((32, 64, 128, 256)):
        layers += [conv(c_in, c_out, padding=1, groups=8 if i else 1, bias=False), Quadratic(act)]
        if se and i == 3:
            layers.append(SqueezeExcite(256, "reshape", act, "horner"))
        layers.append(pool(se))
        c_in = c_out
    return nn.Sequential(*layers, nn.Flatten(), head(1024, 14))


def lenet5(act="square", se=False):
    return nn.Sequential(
        conv(4, 32, 5), Quadratic(act), pool(se),
        conv(32, 64, 5, groups=4), Quadratic(act), pool(se),
        conv(64, 128, 5), *([SqueezeExcite(128, "conv", act, "pow")] if se else []), Quadratic(act),
        nn.AdaptiveAvgPool2d(1), Lambda(lambda x: x.view(-1, 128)),
        hidden(128, 64), Quadratic(act), head(64, 14),
    )


def resnet20(act="horner", se=False):
    blocks, c_in = [], 16
    for c_out, first in ((16, 1), (32, 2), (64, 2)):
        for stride in (first, 1, 1):
            blocks.append(Block(c_in, c_out, stride, act, se))
            c_in = c_out
    return nn.Sequential(
        conv(4, 16, padding=1, bias=False), norm(16), Quadratic(act),
        *blocks,
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(64, 14),
    )


def lola():
    return nn.Sequential(
        conv(1, 5, 5, stride=2, padding=1), Square("mul"),
        Lambda(lambda x: x.view(x.size(0), -1)), hidden(845, 100), Square("mul"), head(100, 10),
    )


def mlp():
    return nn.Sequential(
        nn.Flatten(), hidden(784, 128), Square("pow"), hidden(128, 128), Square("pow"), head(128, 10),
    )


def separable():
    layers = [conv(3, 16, padding=1), Quadratic("mul", 16)]
    for c_in, c_out, stride in ((16, 32, 1), (32, 64, 2)):
        layers += [
            conv(c_in, c_in, padding=1, stride=stride, groups=c_in, bias=False), norm(c_in),
            conv(c_in, c_out, 1, bias=False), norm(c_out), Quadratic("sub", c_out),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head(64, 10))


def dilated():
    return nn.Sequential(
        conv(4, 16, dilation=2), Quadratic("horner"),
        conv(16, 32, dilation=2, stride=2, padding=2), Quadratic("horner"),
        Lambda(lambda x: x.mean((2, 3))), head(32, 5),
    )


def odd():
    return nn.Sequential(
        conv(3, 7, (3, 5), stride=(2, 1), padding=(1, 2)), Quartic(),
        nn.AvgPool2d(3, stride=2, count_include_pad=False),
        Lambda(lambda x: F.pad(x, (1, 0, 2, 1))), conv(7, 11), Quadratic("left"),
        Lambda(lambda x: (x - 0.25) / 1.5),
        nn.Flatten(), scaled(MatMulAdd(1056, 9), 2.0, means=0.5),
    )


X8, MNIST, RGB = (4, 32, 32), (1, 28, 28), (3, 32, 32)

# name: (network, input shape, fold batch norm into the convolutions)
NETWORKS = {
    "hefnet": (hefnet, X8, False),
    "hefnet_se": (lambda: hefnet("pow", se=True), X8, True),
    "hefnet_16_32_64": (hefnet_16_32_64, X8, True),
    "vgg5": (vgg5, X8, True),
    "vgg5_se": (lambda: vgg5("left", se=True), X8, True),
    "lenet5": (lenet5, X8, True),
    "lenet5_se": (lambda: lenet5("vertex", se=True), X8, True),
    "resnet20": (resnet20, X8, False),
    "resnet20_se": (lambda: resnet20("sub", se=True), X8, True),
    "lola": (lola, MNIST, True),
    "mlp": (mlp, MNIST, True),
    "separable": (separable, RGB, False),
    "dilated": (dilated, X8, True),
    "odd": (odd, (3, 30, 27), True),
    "odd_raw": (odd, (3, 30, 27), True),
}


# ---- weights, export, check ---------------------------------------------------------------------------------------


def calibrate(model, shape):
    """One pass on standard-normal inputs that scales each marked layer as its outputs come by; then batch norm; then
    the last layer once more, because batch norm now behaves as it will from here on."""

    def rescale(layer, _, out):
        units = 1 if out.dim() == 4 else -1
        rest = [d for d in range(out.dim()) if d != units % out.dim()]
        spread = (out.std(rest).mean() if layer.means else out.std()) / layer.std
        layer.weight.data /= spread
        if layer.bias is not None:
            layer.bias.data /= spread
        out = out / spread
        if layer.means:
            offset = layer.means * torch.randn(out.shape[units]) - out.mean(rest)
            layer.bias.data += offset
            out = out + (offset.view(1, -1, 1, 1) if out.dim() == 4 else offset)
        return out

    with torch.no_grad():
        model.train()
        hooks = [m.register_forward_hook(rescale) for m in model.modules() if hasattr(m, "std")]
        model(torch.randn(256, *shape))
        for hook in hooks:
            hook.remove()
        for m in model.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.reset_running_stats()
        for _ in range(2):
            model(torch.randn(256, *shape))
        model.eval()
        last = [m for m in model.modules() if hasattr(m, "std")][-1]
        hook = last.register_forward_hook(rescale)
        model(torch.randn(256, *shape))
        hook.remove()


def multiply_adds(model, shape):
    """Of convolutions and linear layers, for one input."""
    total = 0

    def count(layer, _, out):
        nonlocal total
        per_output = layer.weight.shape[0] if isinstance(layer, MatMulAdd) else layer.weight[0].numel()
        total += out.numel() * per_output

    hooks = [m.register_forward_hook(count) for m in model.modules() if hasattr(m, "std")]
    with torch.no_grad():
        model(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return total


def fold_constants(graph):
    """Replaces every node that does not depend on an input by its value."""
    known = {tensor.name for tensor in graph.graph.initializer}
    for node in list(graph.graph.node):
        if not known.issuperset(node.input):
            continue
        used = [t for t in graph.graph.initializer if t.name in node.input]
        (out,) = node.output
        lone = onnx.helper.make_graph([node], "constant", [], [onnx.ValueInfoProto(name=out)], used)
        (value,) = ReferenceEvaluator(onnx.helper.make_model(lone, opset_imports=graph.opset_import)).run(None, {})
        graph.graph.initializer.append(onnx.numpy_helper.from_array(value, out))
        graph.graph.node.remove(node)
        known.add(out)
    used = {name for node in graph.graph.node for name in node.input}
    for tensor in [t for t in graph.graph.initializer if t.name not in used]:
        graph.graph.initializer.remove(tensor)


def export(model, shape, fold):
    mode = torch.onnx.TrainingMode
    buffer = io.BytesIO()
    torch.onnx.export(
        model, torch.randn(1, *shape), buffer, opset_version=OPSET,
        input_names=["input"], output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
        training=mode.EVAL if fold else mode.PRESERVE, do_constant_folding=fold,
    )
    graph = onnx.load_from_string(buffer.getvalue())
    graph.doc_string = graph.graph.doc_string = ""
    for node in graph.graph.node:
        node.doc_string = ""
    del graph.metadata_props[:]
    onnx.checker.check_model(graph, full_check=True)
    return graph


def make(name):
    build, shape, fold = NETWORKS[name]
    torch.manual_seed(SEED + zlib.crc32(name.removesuffix("_raw").encode()))
    model = build()
    calibrate(model, shape)

    x = torch.randn(BATCH, *shape)
    with torch.no_grad():
        exact = copy.deepcopy(model).double()
        y = exact(x.double()).numpy()
        spread = exact(torch.randn(128, *shape).double()).std(0).mean().item()
    graph = export(model, shape, fold)
    if name == "odd":
        fold_constants(graph)
        graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value = y.shape[1]  # unknown to the exporter
    if name == "dilated":
        graph = onnx.version_converter.convert_version(graph, 18)  # ReduceMean takes its axes as an input from 18 on
        onnx.checker.check_model(graph, full_check=True)
    (again,) = ReferenceEvaluator(graph).run(None, {"input": x.numpy()})
    error = np.abs(again - y).max()
    assert error < 5e-5, (name, error)

    onnx.save(graph, str(HERE / f"{name}.onnx"))
    np.save(HERE / f"{name}.input.npy", x.numpy())
    np.save(HERE / f"{name}.output.npy", y)
    ops = sorted({node.op_type for node in graph.graph.node})
    parameters = sum(p.numel() for p in model.parameters())
    row = name, f"{parameters:,}", f"{multiply_adds(model, shape):,}", f"{spread:.2f}", f"{error:.0e}", ", ".join(ops)
    print("|", " | ".join(row), "|", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("| network | parameters | multiply-adds | logits std | float32 error | operators |\n|---|---|---|---|---|---|")
    for name in sys.argv[1:] or NETWORKS:
        make(name)
