"""Metrics, intervals and calibration: arrays in, numbers out."""
