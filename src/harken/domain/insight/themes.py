"""What thumbs-down comments are about: themes, found from counts and from the words that occur together.

No model and no list of topics is needed, and the same comments give the same themes, in any order:

1. Candidates are the words that are more common in thumbs-down than in thumbs-up comments.
2. Words that say nothing about the other words of a comment are left out.
3. The others are grouped by how often they occur together, by the company that they keep, and by their letters.
4. A comment belongs to a theme when it has one of the theme's words.
5. Themes are ranked by how many comments they add to those above them.

How common a word is comes from the counts of all rated comments; which words occur together comes from the thumbs-down
comments that are looked at, all of them or the newest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import pairwise, starmap
from math import fsum, log, sqrt
from operator import mul, or_
from typing import Final, Protocol

from attrs import field, frozen

from harken.domain.insight.terms import TermCounts, terms

#: No theme has fewer comments than this.
MIN_COMMENTS: Final = 8
#: With fewer words in all comments together (2,000 comments of fifteen words), single words are shown.
ENOUGH_WORDS: Final = 30_000

#: Words in more of the thumbs-down comments are not part of themes.
MAX_SHARE: Final = 0.25

_MOST_FREQUENT: Final = 5
# Candidates are in at least that share of thumbs-down comments.
_MIN_SHARE: Final = 0.004
# The comments that the prior of log-odds is worth, and how many standard errors a candidate needs.
_PRIOR: Final = 100.0
_MIN_Z: Final = 1.0
# Limits of time: pairs of words are compared.
_MOST_CANDIDATES: Final = 350
_MOST_WORDS: Final = 180
# Groups are joined down to this similarity, and up to this share of the comments, or of the larger group's comments.
_MIN_SIMILARITY: Final = 0.25
_LARGEST_THEME: Final = 1 / 8
_LARGEST_GROWTH: Final = 1.1
_APART: Final = -1.0
_LETTERS_WEIGHT: Final = 0.4
_MIN_DICE: Final = 0.5
_EXAMPLES: Final = 3
# A stop word, or one more pair of letters, is part of an expression if this share of uses has it.
_EXPRESSION: Final = 2 / 3
_LONGEST: Final = 7
# Scripts without spaces lie between Thai and Hangul; Hangul has spaces.
_FIRST_UNSPACED: Final = "\u0e00"
_FIRST_SYLLABLE: Final = "\uac00"

_Matrix = list[list[float]]


class RatedComment(Protocol):
    """A thumbs-down comment."""

    @property
    def id(self) -> str:
        """Unique among the comments."""

    @property
    def author(self) -> str | None:
        """Who wrote it, if that is known."""

    @property
    def words(self) -> Sequence[str]:
        """Its words in order, as ``terms.words`` gives them."""


@frozen
class Theme:
    """What several comments are about.

    Attributes:
        label: the n-gram if it is made of the theme's words, and otherwise the theme's first word.
        ngram: the two adjacent words that stand out most, if any are in enough comments; in scripts without spaces, the
            longer word that they are part of.
        words: the theme's words, those with the largest excess first.
        count: the comments that have at least one of the words.
        share: the same as a share of all comments that were looked at.
        excess: how many more thumbs-down comments it has than if it were as common in thumbs-up comments.
        examples: the ids of up to three comments by different authors, the most typical first.
        comments: the ids of all its comments.
    """

    label: str
    ngram: str | None
    words: tuple[str, ...]
    count: int
    share: float
    excess: float
    examples: tuple[str, ...]
    comments: frozenset[str] = field(repr=False)


def enough(comments: Iterable[RatedComment]) -> bool:
    """Whether there are enough comments to find which words belong together."""
    return sum(len(comment.words) for comment in comments) >= ENOUGH_WORDS


def discover(
    counts: TermCounts,
    comments: Sequence[RatedComment],
    stop_words: Collection[str],
    limit: int = 15,
    *,
    max_share: float = MAX_SHARE,
) -> list[Theme]:
    """The themes of thumbs-down comments, the most important first.

    Where there are not ``enough`` comments, each theme is a single word, and those with the largest excess come first.

    Args:
        counts: the terms of all rated comments.
        comments: the thumbs-down comments to look at, all or the newest.
        stop_words: words that cannot be part of a theme, such as "the".
        limit: how many themes at most.
        max_share: the largest share of thumbs-down comments that a word of a theme is in.
    """
    looked_at = sorted(comments, key=lambda comment: comment.id)
    ignored = frozenset(stop_words)
    found = _Occurrences.of(_candidates(counts, ignored, max_share), looked_at)
    groups = _ranked_groups(found, limit) if enough(looked_at) else [(word,) for word in found.words[:limit]]
    return _Describer(counts, looked_at, ignored, found).themes(groups)


def frequent_words(counts: TermCounts, stop_words: Collection[str]) -> list[tuple[str, int]]:
    """Up to five words that are in more than a quarter of the thumbs-down comments, and in how many of them.

    They are too frequent for a theme: they would join all others. Only words that are more common in thumbs-down than
    in thumbs-up comments count, those with the largest excess first.
    """
    most = max(MIN_COMMENTS - 1, MAX_SHARE * counts.down)
    terms = (term for term, count in counts.downs.items() if count > most)
    found = _telling(counts, terms, frozenset(stop_words))[:_MOST_FREQUENT]
    return [(word, counts.downs[word]) for word in found]


# Candidates


def _candidates(counts: TermCounts, ignored: frozenset[str], max_share: float) -> list[str]:
    """The words that themes may consist of, those with the largest excess first."""
    least, most = max(MIN_COMMENTS, _MIN_SHARE * counts.down), max_share * counts.down
    terms = (term for term, count in counts.downs.items() if least <= count <= most)
    return _telling(counts, terms, ignored)[:_MOST_CANDIDATES]


def _telling(counts: TermCounts, terms: Iterable[str], ignored: frozenset[str]) -> list[str]:
    """The words that are more common in thumbs-down than in thumbs-up comments, those with the largest excess first."""
    excess = {term: _excess(counts, term) for term in terms if term not in ignored and _is_word(term)}
    telling = (word for word in excess if excess[word] > 0 and _is_characteristic(counts, word))
    return sorted(telling, key=lambda word: (-excess[word], word))


def _is_word(term: str) -> bool:
    """Whether a term is a word of at least two letters: no number, sign, word pair or sound."""
    return len(term) > 1 and term[0].isalpha() and not any(letter.isdigit() for letter in term)


def _excess(counts: TermCounts, term: str) -> float:
    """How many more thumbs-down comments have the term than if it were as common in them as in thumbs-up comments."""
    expected = counts.down * counts.ups.get(term, 0) / counts.up if counts.up else 0.0
    return counts.downs.get(term, 0) - expected


def _is_characteristic(counts: TermCounts, word: str) -> bool:
    """Whether a word is more common in thumbs-down comments by more than noise.

    With few thumbs-up comments no word could show that; a word passes with half of what it would show if no thumbs-up
    comment had it.
    """
    downs, ups = counts.downs[word], counts.ups.get(word, 0)
    if downs == counts.total:
        # All comments have it, and none is thumbs-up: there are no odds.
        return True
    return _z(counts, downs, ups) >= min(_MIN_Z, _z(counts, downs, 0) / 2)


def _z(counts: TermCounts, downs: int, ups: int) -> float:
    """The log-odds ratio with an informative Dirichlet prior, in standard errors.

    B. L. Monroe, M. P. Colaresi, K. M. Quinn, "Fightin' Words", Political Analysis 16 (2008), equations 16 and 22, with
    presence in comments in place of frequency.
    """
    prior = _PRIOR * (downs + ups) / counts.total
    a, b = downs + prior, ups + prior
    ratio = log(a / (counts.down + _PRIOR - a)) - log(b / (counts.up + _PRIOR - b))
    return ratio / sqrt(1 / a + 1 / b)


# Occurrences


@frozen
class _Occurrences:
    """Which comments have which words.

    Attributes:
        total: all comments.
        words: the words.
        sets: by word, its comments: bit i is comment i.
        together: how many comments have both of two words; on the diagonal, how many have the word.
    """

    total: int
    words: tuple[str, ...]
    sets: tuple[int, ...]
    together: list[list[int]]

    @classmethod
    def of(cls, words: Sequence[str], comments: Sequence[RatedComment]) -> _Occurrences:
        """The occurrences of the words that are in enough comments."""
        places: dict[str, list[int]] = {word: [] for word in words}
        for place, comment in enumerate(comments):
            for word in places.keys() & comment.words:
                places[word].append(place)
        kept = [word for word in words if len(places[word]) >= MIN_COMMENTS]
        sets = [_bits(places[word], len(comments)) for word in kept]
        together = [[(one & other).bit_count() for other in sets] for one in sets]
        return cls(len(comments), tuple(kept), tuple(sets), together)

    def only(self, kept: Sequence[int]) -> _Occurrences:
        """The occurrences of some of the words."""
        return _Occurrences(
            self.total,
            tuple(self.words[i] for i in kept),
            tuple(self.sets[i] for i in kept),
            [[self.together[i][j] for j in kept] for i in kept],
        )

    def count(self, i: int) -> int:
        """How many comments have word i."""
        return self.together[i][i]

    def expected(self, i: int, j: int) -> float:
        """How many comments would have both words if these were independent."""
        return self.together[i][i] * self.together[j][j] / self.total


def _bits(places: Iterable[int], length: int) -> int:
    octets = bytearray(length // 8 + 1)
    for place in places:
        octets[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(octets, "little")


def _places(bits: int) -> Iterator[int]:
    for place, bit in enumerate(reversed(f"{bits:b}")):
        if bit == "1":
            yield place


# Groups


def _ranked_groups(found: _Occurrences, limit: int) -> list[tuple[str, ...]]:
    """The words of each theme, the most important theme first."""
    specificity = _specificity(found)
    telling = [i for i in range(len(found.words)) if specificity[i] >= 0][:_MOST_WORDS]
    known = found.only(telling)
    groups = _groups(_similarities(known), known)
    best = _ranked(groups, [specificity[i] for i in telling], known, limit)
    return [tuple(known.words[i] for i in group) for group in best]


def _specificity(found: _Occurrences) -> list[float]:
    """By word, how much an occurrence tells about the other words of its comment, in nats; below zero: only noise.

    The sum of the mutual information with each other word, less its bias of ``1 / (2 n)`` for a table of two by two
    (G. A. Miller, "Note on the bias of information estimates", 1955), by occurrence of the word.
    """
    n = found.total
    xlogx = [0.0, *(k * log(k) for k in range(1, n + 1))]
    alone = [xlogx[count] + xlogx[n - count] for count in map(found.count, range(len(found.words)))]

    def information(i: int, j: int) -> float:
        both, a, b = found.together[i][j], found.count(i), found.count(j)
        joint = xlogx[both] + xlogx[a - both] + xlogx[b - both] + xlogx[n - a - b + both]
        return joint - alone[i] - alone[j] + xlogx[n] - 0.5

    shared = _symmetric(len(found.words), information)
    return [fsum(row) / found.count(i) for i, row in enumerate(shared)]


def _similarities(found: _Occurrences) -> _Matrix:
    """How much two words belong together.

    Half of it is the normalised pointwise mutual information of the two (G. Bouma, 2009), half the cosine of their
    positive pointwise mutual information with all words (J. A. Bullinaria, J. P. Levy, 2007), both with one comment
    added to what was seen and to what was expected. Words that look alike in any language, such as "bag" and "bags",
    have more: Dice's coefficient of their letter trigrams (R. C. Angell, G. E. Freund, P. Willett, 1983).
    """
    size = len(found.words)
    shared = _symmetric(size, lambda i, j: _log_ratio(found, i, j))
    profiles = [_unit([max(0.0, value) for value in row]) for row in shared]
    letters = [_trigrams(word) for word in found.words]

    def similarity(i: int, j: int) -> float:
        npmi = shared[i][j] / -log((found.together[i][j] + 1) / (found.total + 2))
        cosine: float = sum(map(mul, profiles[i], profiles[j]))
        return (npmi + cosine) / 2 + _LETTERS_WEIGHT * _dice(letters[i], letters[j])

    return _symmetric(size, similarity)


def _symmetric(size: int, value: Callable[[int, int], float]) -> _Matrix:
    """A symmetric matrix with zeros on its diagonal."""
    matrix = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i):
            matrix[i][j] = matrix[j][i] = value(i, j)
    return matrix


def _log_ratio(found: _Occurrences, i: int, j: int) -> float:
    return log((found.together[i][j] + 1) / (found.expected(i, j) + 1))


def _unit(profile: list[float]) -> list[float]:
    length = sqrt(fsum(value * value for value in profile))
    return [value / length for value in profile] if length else profile


def _trigrams(word: str) -> frozenset[str]:
    padded = f" {word} "
    return frozenset(padded[i : i + 3] for i in range(len(padded) - 2))


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    shared = 2 * len(one & other) / (len(one) + len(other))
    return shared if shared >= _MIN_DICE else 0.0


def _groups(similar: _Matrix, found: _Occurrences) -> list[list[int]]:
    """Words in groups: the two groups with the highest average similarity are joined, as long as that is high enough.

    R. R. Sokal, C. D. Michener, "A statistical method for evaluating systematic relationships" (1958). Two
    groups that have more than an eighth of the comments together stay apart, so that words such as "hours" do not tie
    all themes together; unless nearly all these comments are those of one of them.
    """
    groups = {i: [i] for i in range(len(similar))}
    comments = dict(enumerate(found.sets))
    most = _LARGEST_THEME * found.total
    near = {i: {j: similar[i][j] for j in groups if j != i} for i in groups}
    nearest = {i: _nearest(near[i]) for i in groups}
    while len(groups) > 1:
        i = max(groups, key=lambda one: nearest[one][1])
        j, similarity = nearest[i]
        if similarity < _MIN_SIMILARITY:
            break
        larger = max(comments[i].bit_count(), comments[j].bit_count())
        if (comments[i] | comments[j]).bit_count() > max(most, _LARGEST_GROWTH * larger):
            near[i][j] = near[j][i] = _APART
            nearest[i], nearest[j] = _nearest(near[i]), _nearest(near[j])
            continue
        _join(i, j, groups, near)
        comments[i] |= comments.pop(j)
        del nearest[j]
        for k in groups:
            if k == i or nearest[k][0] in {i, j} or near[k][i] > nearest[k][1]:
                nearest[k] = _nearest(near[k])
    return list(groups.values())


def _nearest(row: Mapping[int, float]) -> tuple[int, float]:
    return max(row.items(), key=lambda item: item[1], default=(-1, _APART))


def _join(i: int, j: int, groups: dict[int, list[int]], near: dict[int, dict[int, float]]) -> None:
    """Add group j to group i; what stays apart from one of them stays apart from both."""
    mine, other = len(groups[i]), len(groups[j])
    gone = near.pop(j)
    for k in groups.keys() - {i, j}:
        to_mine, to_other = near[i][k], gone[k]
        average = (mine * to_mine + other * to_other) / (mine + other)
        near[i][k] = near[k][i] = _APART if _APART in {to_mine, to_other} else average
        del near[k][j]
    del near[i][j]
    groups[i] += groups.pop(j)


def _ranked(
    groups: Iterable[list[int]], specificity: Sequence[float], found: _Occurrences, limit: int
) -> list[list[int]]:
    """The best groups: each time the one that adds most comments to those above it and overlaps least with them.

    Greedy coverage (G. L. Nemhauser, L. A. Wolsey, M. L. Fisher, 1978), times the share of the group's comments that
    are not yet covered, times the square root of its mean specificity.
    """
    left = {i: sorted(group) for i, group in enumerate(groups)}
    sets = {i: _union(found.sets[word] for word in group) for i, group in left.items()}
    weights = {i: sqrt(_mean_specificity(group, specificity, found)) for i, group in left.items()}
    covered, best = 0, list[list[int]]()

    def worth(i: int) -> float:
        return (sets[i] & ~covered).bit_count() ** 2 / sets[i].bit_count() * weights[i]

    while left and len(best) < limit:
        first = max(left, key=worth)
        best.append(left.pop(first))
        covered |= sets[first]
    return best


def _union(sets: Iterable[int]) -> int:
    return reduce(or_, sets, 0)


def _mean_specificity(group: Sequence[int], specificity: Sequence[float], found: _Occurrences) -> float:
    """The mean over the occurrences of the group's words."""
    return fsum(specificity[i] * found.count(i) for i in group) / sum(found.count(i) for i in group)


# Descriptions


@frozen
class _Describer:
    """Describes groups of words as themes."""

    counts: TermCounts
    comments: Sequence[RatedComment]
    ignored: frozenset[str]
    found: _Occurrences

    def themes(self, groups: Iterable[tuple[str, ...]]) -> list[Theme]:
        """The themes of groups of words; no two have the same n-gram."""
        themes: list[Theme] = []
        taken: set[tuple[str, str]] = set()
        for words in groups:
            group = [self.found.words.index(word) for word in words]
            comments = [self.comments[place] for place in _places(_union(self.found.sets[i] for i in group))]
            phrase = self._phrase(frozenset(words), comments, taken)
            taken.update(pairwise(phrase))
            themes.append(self._theme(group, comments, phrase))
        return themes

    def _theme(self, group: Sequence[int], comments: Sequence[RatedComment], phrase: tuple[str, ...]) -> Theme:
        words = tuple(self.found.words[i] for i in group)
        return Theme(
            label=_text(phrase) if phrase and set(phrase) <= set(words) else words[0],
            ngram=_text(phrase) if phrase else None,
            words=words,
            count=len(comments),
            share=len(comments) / self.found.total,
            excess=len(comments) * self._excess_share(words),
            examples=self._examples(group, comments),
            comments=frozenset(comment.id for comment in comments),
        )

    def _excess_share(self, words: Collection[str]) -> float:
        """The share of the words' thumbs-down comments that is excess.

        It holds for the theme if its words overlap as much in thumbs-up as in thumbs-down comments.
        """
        return fsum(_excess(self.counts, word) for word in words) / sum(self.counts.downs[word] for word in words)

    def _phrase(
        self, own: frozenset[str], comments: Sequence[RatedComment], taken: Collection[tuple[str, str]]
    ) -> tuple[str, ...]:
        """The two adjacent words with the largest excess times normalised information, or none.

        One of them at least is the theme's; it counts twice if both are.
        """
        pairs = Counter(pair for comment in comments for pair in _pairs(comment.words, own))
        worth = {
            pair: self._worth(pair, count) * len(own.intersection(pair))
            for pair, count in pairs.items()
            if count >= MIN_COMMENTS and self._is_expression(pair, count) and pair not in taken
        }
        best = min(worth, key=lambda pair: (-worth[pair], pair), default=None)
        return _whole(best, comments) if best and worth[best] > 0 else ()

    def _is_expression(self, pair: tuple[str, str], count: int) -> bool:
        """Whether a pair is made of words, and has a stop word only if most uses of the other have it ("on hold")."""
        if not all(map(_is_word, pair)):
            return False
        others = [word for word in pair if word not in self.ignored]
        return len(others) == 2 or count >= _EXPRESSION * self.found.count(self.found.words.index(others[0]))

    def _worth(self, pair: tuple[str, str], count: int) -> float:
        """The excess of a pair times how much its two words attract each other, from 0 to 1.

        Thumbs-up pairs are counted in buckets that others may share, so that the excess is never too large.
        """
        counts, total = self.counts, self.found.total
        excess = count - (total * counts.ups.get(_bucket(pair), 0) / counts.up if counts.up else 0.0)
        share = count / total
        expected = counts.downs.get(pair[0], 1) * counts.downs.get(pair[1], 1) / counts.down**2
        return excess * max(0.0, log(share / expected) / -log(share / 2))

    def _examples(self, group: Sequence[int], comments: Iterable[RatedComment]) -> tuple[str, ...]:
        """The comments whose words belong most exclusively to the theme, by different authors."""
        exclusivity = {self.found.words[i]: self._exclusivity(i, group) for i in group}
        typical = sorted(
            comments, key=lambda one: (-fsum(map(exclusivity.__getitem__, exclusivity.keys() & one.words)), one.id)
        )
        by_author: dict[str | tuple[str], str] = {}
        for comment in typical:
            by_author.setdefault(comment.author or (comment.id,), comment.id)
        return tuple(by_author.values())[:_EXAMPLES]

    def _exclusivity(self, word: int, group: Collection[int]) -> float:
        """The share of a word's excess co-occurrence that is with words of its theme; 1 if it is the only one."""
        if len(group) == 1:
            return 1.0
        size = range(len(self.found.words))
        excess = [self._excess_together(word, other) if other != word else 0.0 for other in size]
        return fsum(excess[other] for other in group) / (fsum(excess) or 1.0)

    def _excess_together(self, i: int, j: int) -> float:
        """How many more comments have both words than if these were independent, if that is more than noise."""
        expected = self.found.expected(i, j)
        excess = self.found.together[i][j] - expected
        return excess if excess > sqrt(expected) else 0.0


def _pairs(words: Sequence[str], own: Collection[str]) -> set[tuple[str, str]]:
    return {pair for pair in pairwise(words) if (pair[0] in own or pair[1] in own) and pair[0] != pair[1]}


def _bucket(pair: tuple[str, str]) -> str:
    """The term that a pair of words is counted under."""
    return next(term for term in terms(" ".join(pair), None) if term.startswith("#"))


def _text(phrase: Sequence[str]) -> str:
    """Words as they are written: pairs of letters that overlap are parts of one longer word."""
    written = phrase[0]
    for previous, word in pairwise(phrase):
        written += word[1:] if _is_joined(previous, word) else f" {word}"
    return written


def _is_joined(first: str, second: str) -> bool:
    """Whether two adjacent words are overlapping pairs of letters of a script without spaces."""
    return len(first) == len(second) == 2 and first[1] == second[0] and _FIRST_UNSPACED <= second[0] < _FIRST_SYLLABLE


def _whole(pair: tuple[str, str], comments: Iterable[RatedComment]) -> tuple[str, ...]:
    """The longest word that most uses of two pairs of letters are part of; other words are whole already."""
    if not _is_joined(*pair):
        return pair
    phrase: tuple[str, ...] = pair
    uses = [comment.words for comment in comments if pair[0] in comment.words and pair[1] in comment.words]
    while len(phrase) < _LONGEST:
        longer = Counter(window for words in uses for window in _around(words, phrase))
        best = min(longer, key=lambda window: (-longer[window], window), default=None)
        if best is None or longer[best] < _EXPRESSION * len(uses):
            break
        phrase = best
    return phrase


def _around(words: Sequence[str], phrase: tuple[str, ...]) -> set[tuple[str, ...]]:
    """A phrase with the pair of letters before it or after it, wherever it is used."""
    size = len(phrase) + 1
    windows = {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
    return {
        window
        for window in windows
        if phrase in {window[1:], window[:-1]} and all(starmap(_is_joined, pairwise(window)))
    }
