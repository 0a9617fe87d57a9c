"""SPANetV2: spectral-adaptive modulation networks for visual perception."""

__version__ = "0.1.0"
