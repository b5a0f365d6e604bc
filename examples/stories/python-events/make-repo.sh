#!/usr/bin/env bash
# Makes the example repository: a house whose rooms tell what happens in them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: a bus -----------------------------------------------------------------------------------
mkdir -p chime tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# chime

A house tells what happens in its rooms: a door opens, a lamp goes out. Listeners are told in the order in
which they came.

    python3 -m unittest -v
E
cat > chime/__init__.py <<'E'
"""What happens in a house."""
E
cat > chime/bus.py <<'E'
"""Carries events to those who listen for them."""

ANYTHING = "*"


class Bus:
    """Listeners by the name of an event. Buses may be given the same listeners, to share them."""

    def __init__(self, listeners={}):
        self._listeners = listeners

    def listen(self, name, listener):
        """Calls the listener with each event of that name; with all events for `*`."""
        self._listeners.setdefault(name, []).append(listener)

    def forget(self, listener):
        """Stops calling the listener, whatever it listened for."""
        for waiting in self._listeners.values():
            while listener in waiting:
                waiting.remove(listener)

    def publish(self, event):
        """Tells all who listen; how many they were."""
        told = [*self._listeners.get(event.name, []), *self._listeners.get(ANYTHING, [])]
        for listener in told:
            listener(event)
        return len(told)
E
cat > chime/event.py <<'E'
"""Something that happened."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Event:
    name: str
    room: str
    details: dict = field(default_factory=dict)

    def __str__(self):
        extra = "".join(f", {key} {value}" for key, value in sorted(self.details.items()))
        return f"{self.room}: {self.name}{extra}"
E
touch tests/__init__.py
cat > tests/test_event.py <<'E'
import unittest

from chime.event import Event


class EventTest(unittest.TestCase):
    def test_an_event_says_where_and_what(self):
        self.assertEqual(str(Event("opened", "hall", {"door": "front", "by": "Ada"})), "hall: opened, by Ada, door front")


if __name__ == "__main__":
    unittest.main()
E
cat > tests/test_bus.py <<'E'
import unittest

from chime.bus import Bus
from chime.event import Event


class BusTest(unittest.TestCase):
    def setUp(self):
        self.heard = []
        self.bus = Bus({})

    def test_who_listens_is_told(self):
        self.bus.listen("opened", self.heard.append)
        self.assertEqual(self.bus.publish(Event("opened", "hall")), 1)
        self.assertEqual(self.bus.publish(Event("closed", "hall")), 0)
        self.assertEqual([event.name for event in self.heard], ["opened"])

    def test_a_star_hears_everything(self):
        self.bus.listen("*", self.heard.append)
        self.bus.publish(Event("opened", "hall"))
        self.bus.publish(Event("closed", "hall"))
        self.assertEqual(len(self.heard), 2)

    def test_who_is_forgotten_is_not_told(self):
        self.bus.listen("opened", self.heard.append)
        self.bus.forget(self.heard.append)
        self.assertEqual(self.bus.publish(Event("opened", "hall")), 0)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-05-02T18:00:00+02:00" "A bus for events"

# --- 2: a journal -------------------------------------------------------------------------------
cat > chime/journal.py <<'E'
"""What happened last."""

from collections import deque


class Journal:
    """Keeps the last `size` events."""

    def __init__(self, size=100):
        self._events = deque(maxlen=size)

    def note(self, event):
        self._events.append(event)

    def lines(self):
        """One line for each event, oldest first."""
        return [str(event) for event in self._events]
E
cat > tests/test_journal.py <<'E'
import unittest

from chime.event import Event
from chime.journal import Journal


class JournalTest(unittest.TestCase):
    def test_the_oldest_are_dropped(self):
        journal = Journal(size=2)
        for name in ("opened", "closed", "locked"):
            journal.note(Event(name, "hall"))
        self.assertEqual(journal.lines(), ["hall: closed", "hall: locked"])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-05-03T11:36:00+02:00" "A journal of the last events"

# --- 3: rooms and houses ------------------------------------------------------------------------
cat > chime/house.py <<'E'
"""A house and its rooms."""

from chime.bus import ANYTHING, Bus
from chime.event import Event
from chime.journal import Journal


class Room:
    """A place where things happen."""

    def __init__(self, name):
        self.name = name
        self.bus = Bus()

    def happens(self, what, **details):
        """Something happens here; returns how many were told."""
        return self.bus.publish(Event(what, self.name, details))


class House:
    """Rooms by name, with one journal for all of them."""

    def __init__(self, size=100):
        self.journal = Journal(size)
        self._rooms = {}

    def room(self, name):
        """The room of that name; a new one if there was none."""
        if name not in self._rooms:
            room = Room(name)
            room.bus.listen(ANYTHING, self.journal.note)
            self._rooms[name] = room
        return self._rooms[name]

    def rooms(self):
        return sorted(self._rooms)
E
cat > tests/test_house.py <<'E'
import unittest

from chime.house import House


class HouseTest(unittest.TestCase):
    def test_a_room_stays_the_same(self):
        house = House()
        self.assertIs(house.room("hall"), house.room("hall"))
        self.assertEqual(house.rooms(), ["hall"])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-05-10T09:14:00+02:00" "A house has rooms and a journal"

# --- 4: what was seen, as a test ----------------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_house.py")
text = path.read_text()
text = text.replace(
    "\n\nif __name__",
    "\n"
    "    def test_what_happens_is_noted_once(self):\n"
    "        house = House()\n"
    "        house.room(\"kitchen\")\n"
    "        house.room(\"hall\").happens(\"opened\", door=\"front\")\n"
    "        house.room(\"kitchen\").happens(\"lit\")\n"
    "        self.assertEqual(house.journal.lines(), [\"hall: opened, door front\", \"kitchen: lit\"])\n"
    "\n\nif __name__",
)
path.write_text(text)
E
commit "2025-05-18T21:08:00+02:00" "Test for a journal that repeats itself"

git rev-parse HEAD
