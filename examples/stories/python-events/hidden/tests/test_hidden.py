import unittest

from chime.bus import Bus
from chime.event import Event
from chime.house import House, Room


class HiddenEventsTest(unittest.TestCase):
    def test_buses_that_were_given_nothing_are_apart(self):
        one, other = Bus(), Bus()
        heard = []
        one.listen("opened", heard.append)
        self.assertEqual(other.publish(Event("opened", "hall")), 0)
        self.assertEqual(one.publish(Event("opened", "hall")), 1)
        self.assertEqual(len(heard), 1)

    def test_buses_that_were_given_the_same_share_it(self):
        shared = {}
        one, other = Bus(shared), Bus(shared)
        heard = []
        one.listen("opened", heard.append)
        self.assertEqual(other.publish(Event("opened", "hall")), 1)
        self.assertEqual(len(heard), 1)

    def test_rooms_without_a_house_are_apart(self):
        hall, cellar = Room("hall"), Room("cellar")
        heard = []
        hall.bus.listen("opened", heard.append)
        self.assertEqual(cellar.happens("opened"), 0)
        self.assertEqual(heard, [])

    def test_houses_are_apart(self):
        here, there = House(), House()
        here.room("hall").happens("opened")
        there.room("hall").happens("closed")
        self.assertEqual(here.journal.lines(), ["hall: opened"])
        self.assertEqual(there.journal.lines(), ["hall: closed"])

    def test_nine_rooms_note_once(self):
        house = House()
        for number in range(9):
            house.room(f"room {number}")
        self.assertEqual(house.room("room 4").happens("lit"), 1)
        self.assertEqual(house.journal.lines(), ["room 4: lit"])


if __name__ == "__main__":
    unittest.main()
