"""Names of months, quarters and weekdays in English, German, Dutch, French, Spanish, Italian and Portuguese: facts for `dates`."""

from __future__ import annotations

__all__ = ["ENGLISH", "MONTHS", "NEEDS_DAY", "NEEDS_YEAR", "WEEKDAYS"]

_FULL = {
    "en": "january february march april may june july august september october november december",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
}
_SHORT = {
    "en": "jan feb mar apr may jun jul aug sep oct nov dec",
    "de": "jän feb mär apr mai jun jul aug sep okt nov dez",
    "nl": "jan feb mrt apr mei jun jul aug sep okt nov dec",
    "fr": "janv févr mars avr mai juin juil août sept oct nov déc",
    "es": "ene feb mar abr may jun jul ago sep oct nov dic",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
    "pt": "jan fev mar abr mai jun jul ago set out nov dez",
}
_MORE = {
    "sept": 9, "setiembre": 9, "fevrier": 2, "fevr": 2, "aout": 8, "decembre": 12, "dec": 12, "maerz": 3, "jänner": 1, "feber": 2,
    "marco": 3,
}  # fmt: skip

MONTHS: dict[str, int] = {
    name: number
    for table in (_SHORT, _FULL)
    for names in table.values()
    for number, name in enumerate(names.split(), 1)
} | _MORE
"""Lower-case name or abbreviation to 1..12."""

ENGLISH = frozenset(_FULL["en"].split()) | frozenset(_SHORT["en"].split()) | {"sept"}
"""Names that English texts use; written with a capital there, so `may 5` and `march 3 steps` are no dates."""

NEEDS_DAY = frozenset(
    ("mars", "set", "out", "mag", "ago", "gen", "ott", "mar", "sep", "dec", "jan", "jun", "may", "marco")
)
"""Words that mean something else as well: alone with a year, in lower case, they make no date ("set 2024", "out 1999")."""

NEEDS_YEAR = frozenset(("set", "out", "mag", "ago", "gen", "ott"))
"""Words that mean something else as well: behind a number but without a year they make no date ("5. Set", "5 ago")."""

WEEKDAYS = (
    "(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?"
    "|(?:montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag)"
    "|(?:maandag|dinsdag|woensdag|donderdag|vrijdag|zaterdag|zondag)"
    "|(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)"
    "|(?:lunes|martes|miércoles|jueves|viernes|sábado|domingo)"
)
"""Alternation of weekday names, for use with re.IGNORECASE."""
