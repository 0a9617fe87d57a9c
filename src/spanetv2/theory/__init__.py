"""Graph spectral analysis of token mixers. numpy in float64; nothing else of the package."""
