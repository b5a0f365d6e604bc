#!/usr/bin/env bash
# Makes the example repository: what lies in a workshop's store, and what must be ordered.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: items -----------------------------------------------------------------------------------
mkdir -p store tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# store

What lies in the workshop's store. An item has a reorder level: the quantity at which it is ordered again.

    python3 -m unittest -v
E
cat > store/__init__.py <<'E'
"""The store of a workshop."""
E
cat > store/items.py <<'E'
"""What can lie in the store."""

from dataclasses import dataclass


@dataclass
class Item:
    """`level` is the reorder level, `pack` how many come in one pack."""

    code: str
    title: str
    quantity: int = 0
    level: int = 0
    pack: int = 1
    discontinued: bool = False

    def is_low(self):
        """Whether it is time to order it again."""
        if self.discontinued:
            return False
        return self.quantity < self.level


class Catalogue:
    """All items, by code."""

    def __init__(self, items=()):
        self._items = {}
        for item in items:
            self.add(item)

    def add(self, item):
        if item.code in self._items:
            raise ValueError(f"{item.code} is there already")
        self._items[item.code] = item

    def get(self, code):
        try:
            return self._items[code]
        except KeyError:
            raise LookupError(f"no item has the code {code!r}") from None

    def __iter__(self):
        return iter(sorted(self._items.values(), key=lambda item: item.code))

    def __len__(self):
        return len(self._items)
E
touch tests/__init__.py
cat > tests/test_items.py <<'E'
import unittest

from store.items import Catalogue, Item


class ItemsTest(unittest.TestCase):
    def test_items_come_in_the_order_of_their_codes(self):
        catalogue = Catalogue([Item("B2", "Bolt"), Item("A7", "Anvil")])
        self.assertEqual([item.code for item in catalogue], ["A7", "B2"])

    def test_a_code_is_given_once(self):
        catalogue = Catalogue([Item("B2", "Bolt")])
        with self.assertRaises(ValueError):
            catalogue.add(Item("B2", "Brush"))

    def test_few_are_low_and_many_are_not(self):
        self.assertTrue(Item("B2", "Bolt", quantity=3, level=10).is_low())
        self.assertFalse(Item("B2", "Bolt", quantity=30, level=10).is_low())

    def test_what_is_no_longer_made_is_never_low(self):
        self.assertFalse(Item("A7", "Anvil", quantity=0, level=1, discontinued=True).is_low())


if __name__ == "__main__":
    unittest.main()
E
commit "2025-02-03T08:15:00+01:00" "Items and their catalogue"

# --- 2: movements -------------------------------------------------------------------------------
cat > store/movements.py <<'E'
"""What comes in and goes out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Movement:
    """Positive: came in. Negative: was taken."""

    code: str
    change: int


def parse_movement(line):
    """A movement such as `B2 -4` or `A7 +1`."""
    code, change = line.split()
    if change[0] not in "+-":
        raise ValueError(f"{change!r} needs a sign")
    return Movement(code, int(change))


def apply_movements(catalogue, movements):
    """Changes the quantities; nobody can take what isn't there."""
    for movement in movements:
        item = catalogue.get(movement.code)
        if item.quantity + movement.change < 0:
            raise ValueError(f"only {item.quantity} of {item.title} are left")
        item.quantity += movement.change
E
cat > tests/test_movements.py <<'E'
import unittest

from store.items import Catalogue, Item
from store.movements import Movement, apply_movements, parse_movement


class MovementsTest(unittest.TestCase):
    def test_a_movement_has_a_sign(self):
        self.assertEqual(parse_movement("B2 -4"), Movement("B2", -4))
        with self.assertRaises(ValueError):
            parse_movement("B2 4")

    def test_quantities_change(self):
        catalogue = Catalogue([Item("B2", "Bolt", quantity=5)])
        apply_movements(catalogue, [Movement("B2", 7), Movement("B2", -2)])
        self.assertEqual(catalogue.get("B2").quantity, 10)

    def test_nobody_takes_what_is_not_there(self):
        catalogue = Catalogue([Item("B2", "Bolt", quantity=5)])
        with self.assertRaises(ValueError):
            apply_movements(catalogue, [Movement("B2", -6)])


if __name__ == "__main__":
    unittest.main()
E
commit "2025-02-04T16:40:00+01:00" "Movements change quantities"

# --- 3: orders ----------------------------------------------------------------------------------
cat > store/orders.py <<'E'
"""What must be ordered."""


def packs_for(item):
    """How many packs bring the item to twice its level, one at least."""
    missing = 2 * item.level - item.quantity
    return max(1, -(-missing // item.pack))


def order_list(catalogue):
    """Codes and packs of all items that are low."""
    return [(item.code, packs_for(item)) for item in catalogue if item.is_low()]


def order_text(catalogue):
    """The order as the supplier gets it."""
    lines = [f"{code}: {packs} {'pack' if packs == 1 else 'packs'}" for code, packs in order_list(catalogue)]
    return "\n".join(lines) or "nothing to order"
E
cat > tests/test_orders.py <<'E'
import unittest

from store.items import Catalogue, Item
from store.orders import order_list, order_text


class OrdersTest(unittest.TestCase):
    def test_what_is_low_is_ordered_in_packs(self):
        catalogue = Catalogue([Item("B2", "Bolt", 3, 10, pack=5), Item("A7", "Anvil", 2, 1)])
        self.assertEqual(order_list(catalogue), [("B2", 4)])

    def test_an_order_is_written_line_by_line(self):
        catalogue = Catalogue([Item("B2", "Bolt", 3, 10, pack=50), Item("C1", "Clamp", 1, 2)])
        self.assertEqual(order_text(catalogue), "B2: 1 pack\nC1: 3 packs")

    def test_a_full_store_needs_nothing(self):
        self.assertEqual(order_text(Catalogue([Item("A7", "Anvil", 2, 1)])), "nothing to order")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-02-10T09:05:00+01:00" "Order what is low, in packs"

# --- 4: the report of a user, as a test ---------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_orders.py")
text = path.read_text()
text = text.replace(
    "    def test_a_full_store_needs_nothing(self):",
    "    def test_the_level_itself_is_low(self):\n"
    "        catalogue = Catalogue([Item(\"C1\", \"Clamp\", quantity=5, level=5)])\n"
    "        self.assertEqual(order_list(catalogue), [(\"C1\", 5)])\n"
    "\n"
    "    def test_a_full_store_needs_nothing(self):",
)
path.write_text(text)
E
commit "2025-02-21T11:52:00+01:00" "Test for clamps that were ordered too late"

git rev-parse HEAD
