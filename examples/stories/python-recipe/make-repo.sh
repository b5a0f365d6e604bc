#!/usr/bin/env bash
# Makes the example repository: recipes that are read, scaled and printed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: amounts ---------------------------------------------------------------------------------
mkdir -p pantry tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# pantry

Reads a recipe and prints it for another number of people.

    python3 -m pantry soup.txt --serves 6
    python3 -m unittest -v
E
cat > pantry/__init__.py <<'E'
"""Recipes for as many as come."""
E
cat > pantry/amounts.py <<'E'
"""Amounts as cooks write them: `2`, `1/2`, `1 1/2`."""

from fractions import Fraction


def parse_amount(text):
    """`1 1/2` as a fraction; ValueError says what is wrong with it."""
    try:
        amount = sum(Fraction(part) for part in text.split())
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{text!r} is not an amount") from None
    if amount <= 0:
        raise ValueError(f"{text!r} is not an amount")
    return amount


def format_amount(amount):
    """The way back: a whole number and a fraction, without what is zero."""
    whole, rest = divmod(amount, 1)
    parts = [str(part) for part in (whole, rest) if part]
    return " ".join(parts) or "0"
E
touch tests/__init__.py
cat > tests/test_amounts.py <<'E'
import unittest
from fractions import Fraction

from pantry.amounts import format_amount, parse_amount


class AmountsTest(unittest.TestCase):
    def test_whole_and_broken_numbers_are_read(self):
        self.assertEqual(parse_amount("2"), 2)
        self.assertEqual(parse_amount("1 1/2"), Fraction(3, 2))

    def test_words_are_refused(self):
        with self.assertRaises(ValueError):
            parse_amount("some")

    def test_an_amount_is_written_as_it_is_read(self):
        for text in ("2", "1/4", "1 1/2"):
            self.assertEqual(format_amount(parse_amount(text)), text)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-01-12T15:04:00+01:00" "Amounts with fractions"

# --- 2: recipes ---------------------------------------------------------------------------------
cat > pantry/recipe.py <<'E'
"""A recipe: its name, how many it serves, and what goes in."""

from dataclasses import dataclass
from fractions import Fraction

from pantry.amounts import parse_amount


@dataclass(frozen=True)
class Ingredient:
    amount: Fraction
    unit: str
    name: str


@dataclass(frozen=True)
class Recipe:
    name: str
    serves: int
    ingredients: tuple


def parse_ingredient(line):
    """An ingredient such as `1 1/2 | cup | flour`."""
    parts = [part.strip() for part in line.split("|")]
    if len(parts) != 3:
        raise ValueError(f"expected amount | unit | name, got {line!r}")
    return Ingredient(parse_amount(parts[0]), parts[1], parts[2])


def parse_recipe(text):
    """The first line is the name, the second `serves N`, the rest are ingredients."""
    name, serves, *rest = [line.strip() for line in text.splitlines() if line.strip()]
    word, _, count = serves.partition(" ")
    if word != "serves" or not count.isdigit():
        raise ValueError(f"expected serves N, got {serves!r}")
    return Recipe(name, int(count), tuple(parse_ingredient(line) for line in rest))
E
cat > tests/test_recipe.py <<'E'
import unittest
from fractions import Fraction

from pantry.recipe import Ingredient, parse_ingredient, parse_recipe


class RecipeTest(unittest.TestCase):
    def test_an_ingredient_has_three_parts(self):
        self.assertEqual(parse_ingredient("1/2 | cup | rice"), Ingredient(Fraction(1, 2), "cup", "rice"))
        with self.assertRaises(ValueError):
            parse_ingredient("rice")

    def test_a_recipe_has_a_name_and_serves_some(self):
        recipe = parse_recipe("Rice\nserves 2\n\n1/2 | cup | rice\n1 | cup | water\n")
        self.assertEqual((recipe.name, recipe.serves, len(recipe.ingredients)), ("Rice", 2, 2))


if __name__ == "__main__":
    unittest.main()
E
commit "2025-01-12T17:48:00+01:00" "Read recipes"

# --- 3: scaling ---------------------------------------------------------------------------------
cat > pantry/scale.py <<'E'
"""A recipe for another number of people."""

from dataclasses import replace
from fractions import Fraction


def to_quarters(amount):
    """What a set of spoons and cups can measure: quarters, and at least one."""
    quarters = int(amount * 4)
    return Fraction(max(quarters, 1), 4)


def scale_ingredient(ingredient, factor):
    """As much of it as the factor says."""
    return replace(ingredient, amount=to_quarters(ingredient.amount * factor))


def scale_recipe(recipe, serves):
    """The same dish for `serves` people."""
    if serves < 1:
        raise ValueError("a recipe serves at least one")
    factor = Fraction(serves, recipe.serves)
    ingredients = tuple(scale_ingredient(each, factor) for each in recipe.ingredients)
    return replace(recipe, serves=serves, ingredients=ingredients)
E
cat > tests/test_scale.py <<'E'
import unittest
from fractions import Fraction

from pantry.recipe import parse_recipe
from pantry.scale import scale_recipe, to_quarters

PORRIDGE = parse_recipe("Porridge\nserves 2\n1 | cup | oats\n1 1/2 | cup | milk\n1/4 | spoon | salt\n")


class ScaleTest(unittest.TestCase):
    def test_twice_as_many_need_twice_as_much(self):
        amounts = [each.amount for each in scale_recipe(PORRIDGE, 4).ingredients]
        self.assertEqual(amounts, [2, 3, Fraction(1, 2)])

    def test_a_pinch_never_becomes_nothing(self):
        self.assertEqual(to_quarters(Fraction(1, 16)), Fraction(1, 4))

    def test_nobody_is_refused(self):
        with self.assertRaises(ValueError):
            scale_recipe(PORRIDGE, 0)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-01-19T10:22:00+01:00" "Scale a recipe"

# --- 4: printing --------------------------------------------------------------------------------
cat > pantry/__main__.py <<'E'
"""python3 -m pantry FILE [--serves N]"""

import argparse
import pathlib

from pantry.amounts import format_amount
from pantry.recipe import parse_recipe
from pantry.scale import scale_recipe


def render(recipe):
    """The recipe as text, amounts to the right."""
    lines = [f"{recipe.name}, for {recipe.serves}"]
    for each in recipe.ingredients:
        lines.append(f"{format_amount(each.amount):>6} {each.unit} {each.name}")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="pantry")
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--serves", type=int)
    options = parser.parse_args()
    recipe = parse_recipe(options.file.read_text())
    print(render(scale_recipe(recipe, options.serves or recipe.serves)))


if __name__ == "__main__":
    main()
E
commit "2025-01-26T18:30:00+01:00" "Print a recipe"

# --- 5: the report of a cook, as a test ---------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_scale.py")
text = path.read_text()
text = text.replace(
    "    def test_nobody_is_refused(self):",
    "    def test_the_nearest_quarter_is_taken(self):\n"
    "        self.assertEqual(to_quarters(Fraction(2, 3)), Fraction(3, 4))\n"
    "\n"
    "    def test_nobody_is_refused(self):",
)
path.write_text(text)
E
commit "2025-02-08T19:12:00+01:00" "Test for amounts that come out too small"

git rev-parse HEAD
