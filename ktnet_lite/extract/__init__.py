"""From raw clips to a data set. Read :mod:`~ktnet_lite.extract.clip` first: what an extractor gets, and what it gives.

:mod:`~ktnet_lite.extract.media` decodes; :mod:`~ktnet_lite.extract.face`, :mod:`~ktnet_lite.extract.voice` and
:mod:`~ktnet_lite.extract.words` are the extractors of the three modalities; :mod:`~ktnet_lite.extract.folder` runs them
over a folder of clips and writes the data set.

The packages of the extra are imported where they are used: ``pip install "ktnet-lite[extract]"``.
"""
