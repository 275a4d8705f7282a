"""The model as an ONNX graph: where it can be cut, and the files that its spans become."""
