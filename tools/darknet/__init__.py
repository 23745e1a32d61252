"""Networks of darknet, the framework of the YOLO papers: a text that lists the layers, and a file of bare numbers.

`cfg.py` reads the text by the rules of `options.py`, `shapes.py` follows the sizes through the layers, `weights.py` reads the
numbers, `graph.py` builds ONNX.
A layer's number is darknet's own: from 0, the section [net] not counted. Routes and shortcuts name layers by it.
"""
