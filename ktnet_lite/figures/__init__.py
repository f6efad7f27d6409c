"""The pictures of the course, one module a chapter; their look is that of :mod:`ktnet_lite.plots`."""
