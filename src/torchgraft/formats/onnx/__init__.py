"""ONNX models: their tensors, read without the onnx package."""
