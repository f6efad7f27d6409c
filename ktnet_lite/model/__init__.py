"""The paper's network, in reading order:

1. :mod:`~ktnet_lite.model.layers`: attention, Eq. (3), and the transformer layer, Eq. (4), that everything is made of.
2. :mod:`~ktnet_lite.model.encoder`: X_m -> f_m, one encoder per modality (section III.A).
3. :mod:`~ktnet_lite.model.transfer`: theta and phi of Eq. (1), delta of Eq. (2): audio features without audio.
4. :mod:`~ktnet_lite.model.fusion`: cross-modal attention of all pairs of streams, Eq. (3) and (4), and the decoder.
5. :mod:`~ktnet_lite.model.ktnet`: the whole of Fig. 1, in the paper's five variants.
6. :mod:`~ktnet_lite.model.losses`: the consistency loss, Eq. (1); the task loss, Eq. (5); their sum, Eq. (6).

:mod:`~ktnet_lite.model.network` is what every system offers to training and evaluation, and
:mod:`~ktnet_lite.model.fast` holds what exists for speed alone; a first reading can skip both.
"""
