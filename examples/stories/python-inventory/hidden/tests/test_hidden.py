import unittest

from store.items import Catalogue, Item
from store.movements import Movement, apply_movements
from store.orders import order_list, order_text


class HiddenOrdersTest(unittest.TestCase):
    def test_every_level_counts(self):
        for level in range(0, 20):
            for quantity in range(0, 25):
                item = Item("X1", "Thing", quantity=quantity, level=level)
                self.assertEqual(item.is_low(), quantity <= level, (quantity, level))

    def test_none_left_is_low_at_level_nought(self):
        self.assertEqual(order_list(Catalogue([Item("N0", "Nail")])), [("N0", 1)])

    def test_what_is_no_longer_made_is_left_out(self):
        item = Item("A7", "Anvil", quantity=3, level=3, discontinued=True)
        self.assertEqual(order_text(Catalogue([item])), "nothing to order")

    def test_taking_down_to_the_level_orders(self):
        catalogue = Catalogue([Item("D4", "Drill", quantity=9, level=7, pack=3)])
        self.assertEqual(order_list(catalogue), [])
        apply_movements(catalogue, [Movement("D4", -2)])
        self.assertEqual(order_text(catalogue), "D4: 3 packs")


if __name__ == "__main__":
    unittest.main()
