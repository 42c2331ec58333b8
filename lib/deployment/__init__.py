"""The production model of a finished study as one ONNX file that judges images without PyTorch.

In: a run with its production model and threshold. Out: an .onnx file, compared with the study's own verdicts before it
counts, and the program that judges images with it. May import `lib.inspection` and what lies below it;
`onnx_predict` needs Pillow, NumPy and onnxruntime alone, and imports only modules that need no more.
"""
