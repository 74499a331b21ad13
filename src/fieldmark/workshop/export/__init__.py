"""Networks leave the workshop: ONNX with parity checked."""

from fieldmark.workshop.export.onnx import Parity, check_parity, export_onnx, set_weights, with_notes

__all__ = ["Parity", "check_parity", "export_onnx", "set_weights", "with_notes"]
