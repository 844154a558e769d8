# SPDX-License-Identifier: Apache-2.0
"""The ONNX graph of all-MiniLM-L6-v2, as an exporter would write it: build(weights, folder) returns
{"ort fp32": path, "ort int8": path}. Input: ids (batch, length), no padding; output: unit vectors."""
import json
import math
import struct

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper


def tensors(path):
    raw = open(path, "rb").read()
    size = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8:8 + size]).items():
        if name != "__metadata__" and t["dtype"] == "F32":
            begin, end = (8 + size + x for x in t["data_offsets"])
            out[name] = numpy.frombuffer(raw[begin:end], "<f4").reshape(t["shape"])
    return out


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.constants, self.count = weights, [], [], 0

    def constant(self, value, dtype=None):
        self.count += 1
        name = f"c{self.count}"
        self.constants.append(numpy_helper.from_array(numpy.ascontiguousarray(value, dtype), name))
        return name

    def add(self, kind, *inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(kind, inputs, [f"t{self.count}"], **attributes))
        return f"t{self.count}"

    def weight(self, name):
        return self.constant(self.weights[name])

    def linear(self, x, name):
        product = self.add("MatMul", x, self.constant(self.weights[name + ".weight"].T))
        return self.add("Add", product, self.weight(name + ".bias"))

    def norm(self, x, name):
        return self.add("LayerNormalization", x, self.weight(name + ".weight"),
                        self.weight(name + ".bias"), axis=-1, epsilon=1e-12)

    def heads(self, x, order):
        shape = self.constant([0, 0, 12, 32], "int64")
        return self.add("Transpose", self.add("Reshape", x, shape), perm=order)

    def layer(self, x, at):
        q = self.heads(self.linear(x, at + "attention.self.query"), [0, 2, 1, 3])
        k = self.heads(self.linear(x, at + "attention.self.key"), [0, 2, 3, 1])
        v = self.heads(self.linear(x, at + "attention.self.value"), [0, 2, 1, 3])
        scale = self.constant(math.sqrt(32), "float32")
        p = self.add("Softmax", self.add("Div", self.add("MatMul", q, k), scale), axis=-1)
        a = self.add("Transpose", self.add("MatMul", p, v), perm=[0, 2, 1, 3])
        a = self.add("Reshape", a, self.constant([0, 0, 384], "int64"))
        x = self.norm(self.add("Add", self.linear(a, at + "attention.output.dense"), x),
                      at + "attention.output.LayerNorm")
        h = self.linear(x, at + "intermediate.dense")
        erf = self.add("Erf", self.add("Div", h, self.constant(math.sqrt(2), "float32")))
        h = self.add("Mul", self.add("Mul", h, self.add("Add", erf, self.constant(1, "float32"))),
                     self.constant(0.5, "float32"))
        return self.norm(self.add("Add", self.linear(h, at + "output.dense"), x),
                         at + "output.LayerNorm")

    def encoder(self):
        e = "embeddings."
        words = self.add("Gather", self.weight(e + "word_embeddings.weight"), "ids")
        length = self.add("Slice", self.add("Shape", "ids"), self.constant([1], "int64"),
                          self.constant([2], "int64"))
        place = self.weights[e + "position_embeddings.weight"] + \
            self.weights[e + "token_type_embeddings.weight"][0]
        place = self.add("Slice", self.constant(place), self.constant([0], "int64"), length)
        x = self.norm(self.add("Add", words, place), e + "LayerNorm")
        for i in range(6):
            x = self.layer(x, f"encoder.layer.{i}.")
        mean = self.add("ReduceMean", x, axes=[1], keepdims=0)
        return self.add("LpNormalization", mean, axis=-1, p=2)


def build(weights, folder):
    graph = Graph(tensors(weights))
    result = graph.encoder()
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])
    out = helper.make_tensor_value_info(result, TensorProto.FLOAT, ["batch", 384])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "minilm", [ids], [out], graph.constants),
        opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    paths = {"ort fp32": folder + "/fp32.onnx", "ort int8": folder + "/int8.onnx"}
    onnx.save(model, paths["ort fp32"])
    from onnxruntime.quantization import QuantType, quantize_dynamic
    quantize_dynamic(paths["ort fp32"], paths["ort int8"], weight_type=QuantType.QInt8,
                     op_types_to_quantize=["MatMul"])
    return paths
