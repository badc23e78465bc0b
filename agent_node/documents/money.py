"""Currencies as documents write them: signs, ISO 4217 codes, words, and multipliers. Facts for `amounts`."""

# ruff: noqa: RUF001 - currencies are written in many alphabets

from __future__ import annotations

__all__ = ["ADJECTIVES", "CODES", "MULTIPLIERS", "PREFIXED_DOLLARS", "SIGNS", "WORDS"]

SIGNS: dict[str, str] = {
    "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "￥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY", "₪": "ILS", "₫": "VND",
    "฿": "THB", "₴": "UAH", "₦": "NGN", "₱": "PHP", "₿": "BTC", "Kč": "CZK", "zł": "PLN", "Rp": "IDR", "Rs": "INR", "руб": "RUB",
}  # fmt: skip
"""Sign to code. A bare "$" is taken for the US dollar unless letters before it say otherwise."""

PREFIXED_DOLLARS: dict[str, str] = {
    "US": "USD", "U.S.": "USD", "A": "AUD", "AU": "AUD", "C": "CAD", "CA": "CAD", "Can": "CAD", "NZ": "NZD", "HK": "HKD", "S": "SGD",
    "SG": "SGD", "R": "BRL", "MX": "MXN", "NT": "TWD", "Z": "ZWL",
}  # fmt: skip
"""Letters directly before "$"."""

_CODE_LIST = """
AED ARS AUD BGN BRL BTC CAD CHF CLP CNY CZK DKK EGP EUR GBP HKD HUF IDR ILS INR ISK JPY KES KRW MXN
MYR NGN NOK NZD PLN RMB RON RUB SAR SEK SGD THB TWD UAH USD VND ZAR
"""
CODES = frozenset(_CODE_LIST.split())
"""Codes that hardly mean anything else (unlike ALL, TOP, TRY, PHP, COP); RMB is given as CNY."""

ADJECTIVES: dict[str, str] = {
    "US": "USD", "U.S.": "USD", "American": "USD", "Canadian": "CAD", "Australian": "AUD", "New Zealand": "NZD", "Hong Kong": "HKD",
    "Singapore": "SGD", "Swiss": "CHF", "Indian": "INR",
}  # fmt: skip
"""What stands before "dollars", "francs" or "rupees" and says whose they are."""

WORDS: dict[str, str] = {
    "dollar": "USD", "dollars": "USD", "euro": "EUR", "euros": "EUR", "yen": "JPY", "rupee": "INR", "rupees": "INR", "yuan": "CNY",
    "renminbi": "CNY", "kronor": "SEK", "franken": "CHF", "zloty": "PLN", "złoty": "PLN", "rubles": "RUB", "roubles": "RUB",
    "forint": "HUF", "shekels": "ILS", "reais": "BRL", "sterling": "GBP", "pounds": "GBP", "dólares": "USD", "dólar": "USD", "francs": "CHF",
}  # fmt: skip
"""Words behind a number. "pounds" counts only with "sterling" or a multiplier: alone it is a weight."""

MULTIPLIERS: dict[str, int] = {
    "k": 3, "K": 3, "T": 3, "thousand": 3, "tausend": 3, "duizend": 3, "mille": 3, "mil": 3,
    "m": 6, "M": 6, "mn": 6, "mln": 6, "mio": 6, "Mio": 6, "million": 6, "millions": 6, "Million": 6, "Millionen": 6, "miljoen": 6,
    "millón": 6, "millones": 6, "MM": 6, "mm": 6, "Mill": 6,
    "b": 9, "B": 9, "bn": 9, "Bn": 9, "BN": 9, "billion": 9, "billions": 9, "Billion": 9, "mrd": 9, "Mrd": 9, "Milliarde": 9,
    "Milliarden": 9, "milliard": 9, "milliards": 9, "miljard": 9, "mld": 9, "crore": 7, "lakh": 5,
    "t": 12, "tn": 12, "trillion": 12, "Trillion": 12, "trillions": 12,
}  # fmt: skip
"""Power of ten of a multiplier. The short scale is meant for English words; "T" is the German "T€"."""
