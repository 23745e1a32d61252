"""TensorRT: engines built from our ONNX files, and the only modules that import tensorrt, tensorrt_rtx or a CUDA binding.

library → builder → cache → runner; `cuda` is what the runner wants of a device.
"""
