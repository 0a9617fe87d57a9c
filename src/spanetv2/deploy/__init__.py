"""Inference: fold what is constant, and export."""

from spanetv2.deploy.fold import optimize_for_inference

__all__ = ["optimize_for_inference"]
