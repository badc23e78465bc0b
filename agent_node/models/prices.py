"""What known models cost, from the table that the package `genai-prices` carries; nobody is asked. Loaded only where a price is looked up.

Rules. The server's address must belong to a provider of the table: the same model elsewhere, or behind a server of one's own, has another price. Of a price
with steps the highest counts, so that a bid is never below what is charged. What is not in the table is unknown.
"""

from __future__ import annotations

import importlib.util
from typing import Any, Final

from .settings import UsdPrice

__all__ = ["known_price"]

_SIZES: Final = (1_000, 1_000_000)
_WRITTEN: Final = 1_000


def known_price(model: str, url: str) -> UsdPrice | None:
    """US dollars for a million tokens; None: unknown."""
    if importlib.util.find_spec("genai_prices") is None:
        return None
    import genai_prices

    def usd(**tokens: int) -> float:
        usage = genai_prices.Usage(**tokens)
        found: Any = genai_prices.calc_price(usage, model_ref=model, provider_api_url=url)
        return float(found.total_price)

    try:
        read = max(usd(input_tokens=size) / size for size in _SIZES)
        known = max(usd(input_tokens=size, cache_read_tokens=size) / size for size in _SIZES)
        written = max(
            (usd(input_tokens=size, output_tokens=_WRITTEN) - usd(input_tokens=size)) / _WRITTEN
            for size in _SIZES
        )
    except (LookupError, ValueError):
        return None
    if written <= 0:  # not a model that writes, or a row without its price
        return None
    return UsdPrice(input=round(read * 1e6, 6), cached=round(known * 1e6, 6), output=round(written * 1e6, 6))
