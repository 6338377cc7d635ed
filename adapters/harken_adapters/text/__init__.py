"""Text adapters: comment sanitiser, spam filter and sentiment analysis.

>>> from harken_adapters.text import VaderSentiment
>>> VaderSentiment().analyze("It is not good").polarity
-0.3412
"""

from harken_adapters.text.choosing import TextAdapters, text_adapters
from harken_adapters.text.sanitizer import Nh3Sanitizer
from harken_adapters.text.sentiment import TextBlobSentiment, VaderSentiment
from harken_adapters.text.spam import HeuristicSpamFilter

__all__ = [
    "HeuristicSpamFilter",
    "Nh3Sanitizer",
    "TextAdapters",
    "TextBlobSentiment",
    "VaderSentiment",
    "text_adapters",
]
