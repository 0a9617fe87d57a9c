"""The page ``spanetv2 explore``: paint in frequency space and watch networks answer.

``subject`` is what a task hands over, ``mask`` the filters that the page paints (the same in numpy,
so that what the page shows can be computed again), ``switches`` and ``network`` turn a network into
a file that a browser runs, ``gains`` measures its blocks, ``runtime`` finds onnxruntime-web, and
``assemble`` writes the page from the modules in ``web/``.
"""
