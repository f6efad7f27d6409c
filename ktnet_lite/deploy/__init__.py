"""Use a trained model elsewhere: export to ONNX, predict without torch, measure what a clip costs."""
