"""Words that carry no topic, in five languages, and which of the languages a text is in. Facts for `keywords` and `summarize`."""

# ruff: noqa: RUF001 - typographic marks are what documents are written with

from __future__ import annotations

import re
from collections import Counter
from functools import cache

__all__ = ["STOP_WORDS", "guess", "stop_words", "words"]

_WORD = re.compile(r"[^\W\d_](?:[\w'’-]*[^\W_])?")

_EN = """
a about above after again against all almost also although always am among an and another any are
aren't as at be because been before being below between both but by can can't cannot could couldn't
did didn't do does doesn't doing don't done down during e.g each either else etc even ever every few
first five for four from further get gets given go going got had hadn't has hasn't have haven't
having he he's her here hers herself him himself his how however i i'd i'll i'm i've i.e if in
instead into is isn't it it's its itself just last least less let let's like made make makes many
may me might mine more most much must my myself near need never new no nor not now of off often on
once one only onto or other others ought our ours ourselves out over own per perhaps please quite
rather really same see set shall she should shouldn't since so some still such than that that's the
their theirs them themselves then there there's these they they're they've this those though three
through thus to too toward two under until up upon us use used uses using very via was wasn't way we
we're we've well were weren't what what's when where whether which while who whom whose why will
with within without won't would wouldn't yet you you'd you'll you're you've your yours yourself
"""

_DE = """
aber alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes auch
auf aus bei beim bereits bin bis bist bzw da dabei dadurch dafür damit dann das dass dasselbe dazu
daß dein deine dem den denn der des deshalb dessen die dies diese diesem diesen dieser dieses doch
dort du durch ein eine einem einen einer eines einig einige einmal er es etwas euch euer für gegen
gewesen gibt hab habe haben hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren
ihrer im in indem ins ist je jede jedem jeden jeder jedes jedoch jene jetzt kann kein keine keinem
keinen keiner können könnte machen man manche mein meine mich mir mit muss musste müssen nach
nachdem nicht nichts noch nun nur ob oder ohne sehr sein seine seinem seinen seiner seit selbst sich
sie sind so solche soll sollte sondern sonst sowie um und uns unser unsere unter viel vom von vor
war waren was weg weil weiter welche wenn werde werden wie wieder will wir wird wirst wo wollen
worden wurde wurden während zu zum zur zwar zwischen über
"""

_NL = """
aan al alle alleen alles als altijd andere ben bij bijvoorbeeld binnen daar daarna dan dat de deze
die dit doch doen door dus een eens en er ge geen geweest haar had heb hebben heeft hem het hier hij
hoe hun iemand iets ik in is ja je kan kon kunnen maar me meer men met mij mijn moet moeten na naar
niet niets nog nu of om omdat onder ons onze ook op over per reeds sinds te tegen toch toen tot
tussen u uit uw van vanaf veel via voor waar waren was wat we wel werd werden wezen wie wij wil
worden wordt zal ze zelf zich zij zijn zo zoals zonder zou zullen
"""

_FR = """
afin ai ainsi alors après as au aucun aussi autre autres aux avait avant avec avez avoir avons ayant
bien c'est car ce ceci cela celle celles celui ces cet cette ceux chaque chez ci comme comment d'un
d'une dans de depuis des donc dont du elle elles en encore entre es est et eu faire fait fois font
il ils je jusqu l'on la le les leur leurs lors lorsque lui ma mais me mes moi moins mon même mêmes
n'est ne ni non nos notre nous on ont ou où par parce pas pendant peu peut peuvent plus pour
pourquoi près puis qu qu'il quand que quel quelle quelles quels qui s'il sa sans se sera serait
seront ses si sinon son sont sous sur ta tandis te tel telle tes toi ton tous tout toute toutes très
tu un une vers voici voilà vos votre vous y à étaient était été être
"""

_ES = """
a al algo algunas algunos ante antes aquel aquella así aun aunque bajo bien cada como con contra
cual cuales cuando cuya cuyo de del desde donde durante e el ella ellas ellos en entre era eran eres
es esa esas ese eso esos esta estaba estado estar estas este esto estos está están fue fueron ha
haber había han has hasta hay he la las le les lo los me mi mientras mis mismo muy más nada ni no
nos nosotros nuestra nuestro o os otra otras otro otros para pero poco por porque pues que quien
quienes qué se sea según ser será si sido sin sino sobre son su sus sí también tan tanto te tener
tiene tienen toda todas todo todos tu tus un una uno unos usted ustedes y ya yo él
"""

STOP_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset(_EN.split()),
    "de": frozenset(_DE.split()),
    "nl": frozenset(_NL.split()),
    "fr": frozenset(_FR.split()),
    "es": frozenset(_ES.split()),
}
"""Lower-case stop words by ISO 639-1 code."""

DEFAULT = "en"


def words(text: str) -> list[str]:
    """The words of `text` in lower case, with inner apostrophes and hyphens, typographic apostrophes made plain."""
    return _WORD.findall(text.lower().replace("’", "'"))


def guess(text: str) -> str:
    """The language whose stop words `text` uses most, judged on up to 100,000 characters spread over it; English when none is."""
    if len(text) > 100_000:
        step = len(text) // 20
        text = " ".join(text[start : start + 5_000] for start in range(0, len(text), step))
    counts = Counter(words(text))
    scores = {code: sum(counts[word] for word in stop) for code, stop in STOP_WORDS.items()}
    best = max(scores, key=lambda code: (scores[code], code == DEFAULT, code))
    return best if scores[best] else DEFAULT


@cache
def stop_words(language: str) -> frozenset[str]:
    """The stop words of a language together with the English ones, since technical texts mix; of an unknown language, the English."""
    return STOP_WORDS.get(language, frozenset()) | STOP_WORDS[DEFAULT]
