"""Stories made up after bAbI's tasks, and what can be asked after each fact of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random

from model.tasks.babi.world import INVERSE, Unanswerable, World

PEOPLE = ("Mary", "John", "Daniel", "Sandra")
GIVERS = ("Mary", "Bill", "Fred", "Jeff")
DOUBTFUL = ("Mary", "Bill", "Fred", "Julie")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
TOWN = ("bedroom", "cinema", "kitchen", "office", "park", "school")
THINGS = ("apple", "football", "milk")
SIDES = tuple(INVERSE)
_AROUND_SHARE = 0.3
_MOVES = ("went to", "journeyed to", "travelled to", "went back to", "moved to")
_TAKES = ("grabbed", "picked up", "got", "took")
_DROPS = ("left", "discarded", "put down", "dropped")
_GIVES = ("gave", "handed", "passed")


@dataclass(frozen=True)
class Manner:
    """Who and where a story is about, and the weights of what happens in it.

    `haunts` are the places that people go to, when not all.
    """

    people: tuple[str, ...] = PEOPLE
    places: tuple[str, ...] = PLACES
    haunts: tuple[str, ...] = ()
    move: float = 1.0
    take: float = 0.0
    drop: float = 0.0
    give: float = 0.0
    place: float = 0.0
    deny: float = 0.0
    doubt: float = 0.0
    relate: float = 0.0


# Weights chosen so that kinds of facts come about as often as in bAbI's training files.
MANNERS = {
    1: Manner(),
    2: Manner(take=4.0, drop=1.0),
    3: Manner(take=4.0, drop=1.0),
    4: Manner(relate=1.0),
    5: Manner(people=GIVERS, take=4.0, drop=0.8, give=5.0),
    6: Manner(take=2.0, drop=0.7),
    7: Manner(take=3.0, drop=0.7, give=5.0),
    8: Manner(take=4.0, drop=1.0),
    9: Manner(place=1.0, deny=1.0),
    10: Manner(people=DOUBTFUL, places=TOWN, place=1.0, doubt=1.0),
}
# All kinds of facts in one story: what tasks 1 to 5 ask can be asked of it together.
EVERYTHING = Manner(people=(*PEOPLE, "Bill", "Fred", "Jeff"), take=6.0, drop=1.2, give=8.0, relate=0.1)


def crowded(random: Random, manner: Manner) -> Manner:
    """The same with some of the people, whom fewer places bring together more often: more happens in as few facts."""
    return replace(
        manner,
        people=tuple(random.sample(manner.people, random.randint(2, len(manner.people)))),
        haunts=tuple(random.sample(manner.places, random.randint(2, len(manner.places)))),
        take=2 * manner.take,
        give=2 * manner.give,
    )


def story(random: Random, manner: Manner) -> Iterator[str]:
    """Facts without end (of relations alone: until no two places are left), each possible after those before it."""
    world = World()
    lies = {thing: random.choice(manner.haunts or manner.places) for thing in THINGS}
    while True:
        fact = _relation(random, manner, world) if random.random() < manner.relate else None
        fact = fact or (_act(random, manner, world, lies) if manner.relate < 1 else None)
        if fact is None:
            return
        world.hear(fact)
        yield fact
        for thing, carrier in world.carrier.items():
            lies[thing] = world.place.get(carrier, lies[thing])


def _act(random: Random, manner: Manner, world: World, lies: dict[str, str]) -> str:
    """What one person does next, or what is said of where the person is."""
    person = random.choice(manner.people)
    here = world.place.get(person)
    there = random.choice([place for place in manner.haunts or manner.places if place != here])
    said = [
        (f"{person} {random.choice(_MOVES)} the {there}.", manner.move),
        (f"{person} is in the {there}.", manner.place),
    ]
    one, other = random.sample(manner.places, 2)
    said.append((f"{person} is either in the {one} or the {other}.", manner.doubt))
    if here is not None:
        said.append((f"{person} {random.choice(('is no longer', 'is not'))} in the {here}.", manner.deny))
        free = [thing for thing in THINGS if thing not in world.carrier and lies[thing] == here]
        held = world.carried(person)
        near = [other for other in manner.people if other != person and world.place.get(other) == here]
        tail = random.choice((".", " there."))
        if free:
            said.append((f"{person} {random.choice(_TAKES)} the {random.choice(free)}{tail}", manner.take))
        if held:
            tail = random.choice((".", ".", ".", " there."))
            said.append((f"{person} {random.choice(_DROPS)} the {random.choice(held)}{tail}", manner.drop))
        if held and near:
            gift = f"the {random.choice(held)} to {random.choice(near)}"
            said.append((f"{person} {random.choice(_GIVES)} {gift}.", manner.give))
    sentences, weights = zip(*said, strict=True)
    return str(random.choices(sentences, weights)[0])


def _relation(random: Random, manner: Manner, world: World) -> str | None:
    """Two places side by side, where nothing was said of those sides, one of them known already if any is."""
    known = {place for _, place in world.beside}
    free = [
        (one, side, other)
        for one in manner.places
        for other in manner.places
        for side in SIDES
        if one != other
        and (side, other) not in world.beside
        and (INVERSE[side], one) not in world.beside
        and not (one in known and other in known)
        and (not known or one in known or other in known)
    ]
    if not free:
        return None
    # In bAbI two stories of five tell twice what is beside the same place.
    around = [relation for relation in free if relation[2] in world.centres]
    one, side, other = random.choice(around if around and random.random() < _AROUND_SHARE else free)
    return f"The {one} is {side} of the {other}."


def questions(task: int, world: World, manner: Manner) -> list[tuple[str, str]]:
    """All questions of a task that can be answered now, each with its answer."""
    answered = []
    for question in _forms(task, world, manner):
        try:
            answered.append((question, world.answer(question)))
        except Unanswerable:
            continue
    return answered


def _forms(task: int, world: World, manner: Manner) -> Iterator[str]:
    if task == 1:
        yield from (f"Where is {person}?" for person in world.place)
    elif task == 2:
        yield from (f"Where is the {thing}?" for thing in world.taker)
    elif task == 3:
        for thing, path in world.paths.items():
            yield from (f"Where was the {thing} before the {place}?" for place in dict.fromkeys(path))
    elif task == 4:
        for side, place in world.beside:
            yield f"What is {side} of the {place}?"
            yield f"What is the {place} {INVERSE[side]} of?"
    elif task == 5:
        for giver, thing, receiver in dict.fromkeys(world.gifts):
            yield f"What did {giver} give to {receiver}?"
            yield f"Who gave the {thing} to {receiver}?"
            yield f"Who gave the {thing}?"
            yield f"Who received the {thing}?"
            yield f"Who did {giver} give the {thing} to?"
    elif task in (6, 9, 10):
        for person in manner.people:
            yield from (f"Is {person} in the {place}?" for place in manner.places)
    elif task == 7:
        yield from (f"How many objects is {person} carrying?" for person in world.place)
    elif task == 8:
        yield from (f"What is {person} carrying?" for person in world.place)
    else:
        raise ValueError(f"bAbI's task {task} is not among 1 to 10")


def steps(world: World) -> list[tuple[str, str]]:
    """Questions on the way to those of tasks 2 and 3, not bAbI's own: who took a thing, where a person was before."""
    asked = [f"Who got the {thing}?" for thing in world.taker]
    for person, walk in world.walks.items():
        asked += [f"Where was {person} before the {place}?" for place in dict.fromkeys(walk[1:])]
    answered = []
    for question in asked:
        try:
            answered.append((question, world.answer(question)))
        except Unanswerable:
            continue
    return answered
