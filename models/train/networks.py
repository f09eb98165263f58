"""The classifiers, each as a list of layers with ReLU (the teacher) or with learned quadratics (what is encrypted),
and their ONNX files.

`hefnet` and `hefnet_se` are those of Kim et al. 2025 (arXiv 2506.15258). `square` is made for the scheme: one wide
convolution with large strides, one quadratic, one dense layer. It takes three levels, hence a small ring.
"""

from functools import partial

import numpy as np
import onnx
import torch
import torch.nn as nn
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper


class Activation(nn.Module):
    """From ReLU (`blend` 0) to a x^2 + b x + c with coefficients of its own for each channel (`blend` 1).

    It starts as the best quadratic approximation of ReLU on standard normal values, which batch norms provide.
    """

    def __init__(self, channels, blend):
        super().__init__()
        self.blend = blend
        self.coefficients = nn.Parameter(torch.tensor([[0.1995, 0.5, 0.1995]]).repeat(channels, 1))

    def forward(self, x):
        if self.blend == 0:
            return F.relu(x)
        a, b, c = (self.coefficients[:, k].view(-1, *[1] * (x.dim() - 2)) for k in range(3))
        quadratic = (a * x + b) * x + c
        return quadratic if self.blend == 1 else torch.lerp(F.relu(x).to(quadratic.dtype), quadratic, self.blend)


class SqueezeExcitation(nn.Module):
    """Multiplies every channel by a gate that looks at all of them: average, dense, activation, dense, and a learned
    cubic in place of the sigmoid (a sigmoid in the teacher)."""

    def __init__(self, channels, blend, ratio=16):
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // ratio)
        self.activation = Activation(channels // ratio, blend)
        self.excite = nn.Linear(channels // ratio, channels)
        self.cubic = nn.Parameter(torch.tensor([-1e-5, 0.12, 0.5]))
        nn.init.zeros_(self.excite.bias)

    def forward(self, x):
        y = self.excite(self.activation(self.squeeze(x.mean(dim=(2, 3)))))
        a, b, c = self.cubic
        blend = self.activation.blend
        gate = torch.lerp(torch.sigmoid(y), (a * y * y + b) * y + c, float(blend)) if blend else torch.sigmoid(y)
        return x * gate[:, :, None, None]


def conv(inputs, outputs, kernel=3, **options):
    return [nn.Conv2d(inputs, outputs, kernel, bias=False, **options), nn.BatchNorm2d(outputs)]


def hefnet(classes, blend, gated=False, channels=4):
    layers = [*conv(channels, 64), Activation(64, blend)]
    layers += [*conv(64, 128, groups=8), Activation(128, blend), nn.AvgPool2d(2)]
    layers += [*conv(128, 256, groups=8), Activation(256, blend), nn.AvgPool2d(2)]
    layers += conv(256, 256, groups=8)
    layers += [SqueezeExcitation(256, blend)] if gated else []
    layers += [Activation(256, blend), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(1024, classes))


# Width, kernel, stride and padding of `square`: all that need less than 20 MB of keys were tried (`classify.py sweep`).
SQUARES = [(16, 10, 4, 3), (64, 4, 4, 0), (32, 6, 4, 1), (16, 5, 2, 2)]


def square(classes, blend, shape=SQUARES[1], channels=4):
    width, kernel, stride, padding = shape
    side = (32 + 2 * padding - kernel) // stride + 1
    layers = [*conv(channels, width, kernel, stride=stride, padding=padding), Activation(width, blend)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(side * side * width, classes))


def tiny(classes, blend, width=16):
    """For 28x28 images as they are."""
    layers = [*conv(1, width, 8, stride=4, padding=2), Activation(width, blend)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(49 * width, classes))


NETWORKS = {
    **{f"square{k}": partial(square, shape=shape) for k, shape in enumerate(SQUARES)},
    "square": square,
    "hefnet": hefnet,
    "hefnet_se": lambda classes, blend: hefnet(classes, blend, gated=True),
    "tiny": tiny,
}


def set_blend(network, blend):
    for module in network.modules():
        if isinstance(module, Activation):
            module.blend = blend


def to_onnx(network, name, input_shape, metadata):
    """The ONNX model, batch norms folded into the convolutions before them."""
    export = Export()
    x, layers = "input", list(network)
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.Conv2d):
            weight, bias = folded(layer, layers[index + 1])
            p = layer.padding[0]
            x = export.node(
                "Conv", [x, export.constant(weight), export.constant(bias)],
                kernel_shape=layer.kernel_size, strides=layer.stride, pads=[p] * 4, group=layer.groups,
            )  # fmt: skip
        elif isinstance(layer, Activation):
            x = export.quadratic(x, layer, (-1, 1, 1))
        elif isinstance(layer, SqueezeExcitation):
            x = export.squeeze_excitation(x, layer)
        elif isinstance(layer, nn.AvgPool2d):
            x = export.node("AveragePool", [x], kernel_shape=[2, 2], strides=[2, 2])
        elif isinstance(layer, nn.Flatten):
            x = export.node("Flatten", [x], axis=1)
        elif isinstance(layer, nn.Linear):
            x = export.dense(x, layer)
        elif not isinstance(layer, (nn.BatchNorm2d, nn.Dropout)):
            raise TypeError(f"{type(layer).__name__} has no ONNX form here")
    export.nodes[-1].output[0] = "scores"
    value = lambda n, shape: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", *shape])
    classes = layers[-1].out_features
    graph = helper.make_graph(
        export.nodes, name, [value("input", input_shape)], [value("scores", [classes])], export.constants
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], producer_name="pleura")
    model.ir_version = 8
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def folded(conv, norm):
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return conv.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


class Export:
    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, tensor):
        name = f"c{len(self.constants)}"
        array = tensor.detach().float().cpu().numpy() if isinstance(tensor, torch.Tensor) else np.array(tensor)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, kind, inputs, **attributes):
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def dense(self, x, layer):
        return self.node("Gemm", [x, self.constant(layer.weight), self.constant(layer.bias)], transB=1)

    def quadratic(self, x, layer, shape):
        a, b, c = (self.constant(layer.coefficients[:, k].reshape(shape)) for k in range(3))
        return self.horner(x, [a, b, c])

    def horner(self, x, coefficients):
        y = coefficients[0]
        for c in coefficients[1:]:
            y = self.node("Add", [self.node("Mul", [x, y]), c])
        return y

    def squeeze_excitation(self, x, layer):
        y = self.node("Flatten", [self.node("GlobalAveragePool", [x])], axis=1)
        y = self.quadratic(self.dense(y, layer.squeeze), layer.activation, (-1,))
        y = self.dense(y, layer.excite)
        a, b, c = (self.constant(k) for k in layer.cubic)
        square = self.node("Mul", [y, y])
        gate = self.node("Add", [self.node("Mul", [self.node("Add", [self.node("Mul", [square, a]), b]), y]), c])
        gate = self.node("Reshape", [gate, self.constant(np.array([0, -1, 1, 1], np.int64))])
        return self.node("Mul", [x, gate])
