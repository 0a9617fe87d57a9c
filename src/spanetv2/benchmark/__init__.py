"""Speed and memory, side by side: networks, and token mixers alone."""
