"""Measures of pictures, each defined in one place."""

from vireo.metrics.psnr import PLANE_WEIGHTS, plane_mse, psnr, weighted_mse

__all__ = ["PLANE_WEIGHTS", "plane_mse", "psnr", "weighted_mse"]
