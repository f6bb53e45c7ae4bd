"""A batch dealt out to several people."""

from collections.abc import Iterator
from itertools import cycle, islice


def deal(pictures: int, people: int, shared: float = 0.0) -> list[tuple[int, ...]]:
    """Return who gets each picture of a batch, best first: people by number from 0, ascending.

    Pictures are dealt out in the order of their ranks, as cards are, so that each share is as good as the others.
    Those for two people are spread evenly over the ranks and over the pairs of people. Shares differ by at most one.

    Parameters
    ----------
    shared
        Part of the pictures that two people get, 0 to 1.
    """
    shared_count = round(shared * pictures) if people > 1 else 0
    people_by_picture: list[tuple[int, ...]] = [()] * pictures
    picture_counts = [0] * people
    for number, pair in enumerate(islice(cycle(_pairs(people)), shared_count)):
        people_by_picture[number * pictures // shared_count] = pair
        for person in pair:
            picture_counts[person] += 1
    for picture, owners in enumerate(people_by_picture):
        if not owners:
            person = picture_counts.index(min(picture_counts))
            people_by_picture[picture] = (person,)
            picture_counts[person] += 1
    return people_by_picture


def _pairs(people: int) -> Iterator[tuple[int, int]]:
    """Yield each pair of people once, in an order in which nobody is ever more than one pair ahead of another.

    An even number meets as in a tournament, whose rounds have everybody once. An odd number is split into circles
    through all of them (Walecki's construction), and every second step of a circle, twice round, is the next pair.
    """
    if people % 2 == 0:
        others = list(range(1, people))
        for _ in others:
            row = [0, *others]
            yield from (_sorted(row[index], row[-1 - index]) for index in range(people // 2))
            others = [*others[1:], others[0]]
        return
    around = people - 1
    for start in range(around // 2):
        zigzag = [(start + (step + 1) // 2 * (1 if step % 2 else -1)) % around for step in range(around)]
        circle = [around, *zigzag]
        for step in range(people):
            yield _sorted(circle[2 * step % people], circle[(2 * step + 1) % people])


def _sorted(first: int, second: int) -> tuple[int, int]:
    return min(first, second), max(first, second)
