"""Knowledge transfer for multimodal sentiment analysis when the audio is missing (Liu & Zhan)."""

__version__ = "0.1.0"
