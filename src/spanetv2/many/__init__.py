"""One run over many images in parts: on several devices, in several calls, on several machines."""
