#!/usr/bin/env bash
# Makes the example repository: repair tickets and the states that they go through.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../history.sh"
begin_repo "$@"

# --- 1: states ----------------------------------------------------------------------------------
mkdir -p repairs tests
cat > .gitignore <<'E'
__pycache__/
E
cat > README.md <<'E'
# repairs

Tickets of a bicycle workshop: a bicycle is received, looked at, repaired and fetched. It may also be given
back as it is.

    python3 -m unittest -v
E
cat > repairs/__init__.py <<'E'
"""Tickets of a bicycle workshop."""
E
cat > repairs/workflow.py <<'E'
"""The states of a ticket, and what leads from one to another."""

STATES = ("received", "examined", "waiting", "repaired", "fetched")


class NotAllowed(Exception):
    """The action makes no sense in the ticket's state."""


def next_state(state, action):
    """The state that an action leads to."""
    if state == "received":
        if action == "examine":
            return "examined"
        if action == "give back":
            return "fetched"
    elif state == "examined":
        if action == "order parts":
            return "waiting"
        if action == "repair":
            return "repaired"
        if action == "give back":
            return "fetched"
    elif state == "waiting":
        if action == "parts arrive":
            return "examined"
        if action == "give back":
            return "fetched"
    elif state == "repaired":
        if action == "fetch":
            return "fetched"
    raise NotAllowed(f"{action!r} makes no sense for what is {state}")
E
touch tests/__init__.py
cat > tests/test_workflow.py <<'E'
import unittest

from repairs import workflow


class WorkflowTest(unittest.TestCase):
    def test_a_bicycle_is_examined_and_repaired(self):
        self.assertEqual(workflow.next_state("received", "examine"), "examined")
        self.assertEqual(workflow.next_state("examined", "repair"), "repaired")
        self.assertEqual(workflow.next_state("repaired", "fetch"), "fetched")

    def test_parts_are_waited_for(self):
        self.assertEqual(workflow.next_state("examined", "order parts"), "waiting")
        self.assertEqual(workflow.next_state("waiting", "parts arrive"), "examined")

    def test_what_makes_no_sense_is_refused(self):
        for state, action in (("fetched", "repair"), ("received", "repair"), ("received", "paint")):
            with self.assertRaisesRegex(workflow.NotAllowed, action):
                workflow.next_state(state, action)


if __name__ == "__main__":
    unittest.main()
E
commit "2025-09-01T09:00:00+02:00" "States of a ticket"

# --- 2: tickets ---------------------------------------------------------------------------------
cat > repairs/ticket.py <<'E'
"""A ticket: whose bicycle, its state, and what was done."""

from repairs.workflow import next_state


class Ticket:
    def __init__(self, owner):
        self.owner = owner
        self.state = "received"
        self.done = []

    def do(self, action):
        """Changes the state; NotAllowed leaves it as it is."""
        self.state = next_state(self.state, action)
        self.done.append(action)

    def is_open(self):
        return self.state != "fetched"
E
cat > tests/test_ticket.py <<'E'
import unittest

from repairs.ticket import Ticket
from repairs.workflow import NotAllowed


class TicketTest(unittest.TestCase):
    def test_a_ticket_goes_its_way(self):
        ticket = Ticket("Ada")
        for action in ("examine", "order parts", "parts arrive", "repair", "fetch"):
            self.assertTrue(ticket.is_open())
            ticket.do(action)
        self.assertFalse(ticket.is_open())
        self.assertEqual(len(ticket.done), 5)

    def test_a_refusal_changes_nothing(self):
        ticket = Ticket("Ada")
        with self.assertRaises(NotAllowed):
            ticket.do("fetch")
        self.assertEqual((ticket.state, ticket.done), ("received", []))


if __name__ == "__main__":
    unittest.main()
E
commit "2025-09-02T10:25:00+02:00" "Tickets"

# --- 3: what can be done ------------------------------------------------------------------------
cat > repairs/choices.py <<'E'
"""What can be done with a ticket, for the buttons beside it."""


def choices(state):
    """The actions that make sense in a state."""
    if state == "received":
        return ["examine", "give back"]
    if state == "examined":
        return ["order parts", "repair", "give back"]
    if state == "waiting":
        return ["parts arrive", "give back"]
    if state == "repaired":
        return ["fetch"]
    return []


def buttons(ticket):
    """The actions as text; a dash if nothing is left to be done."""
    return " ".join(f"[{action}]" for action in choices(ticket.state)) or "-"
E
cat > tests/test_choices.py <<'E'
import unittest

from repairs.choices import buttons, choices
from repairs.ticket import Ticket


class ChoicesTest(unittest.TestCase):
    def test_every_state_has_its_actions(self):
        self.assertEqual(choices("examined"), ["order parts", "repair", "give back"])
        self.assertEqual(choices("fetched"), [])

    def test_buttons_stand_in_a_row(self):
        ticket = Ticket("Ada")
        self.assertEqual(buttons(ticket), "[examine] [give back]")
        ticket.do("give back")
        self.assertEqual(buttons(ticket), "-")


if __name__ == "__main__":
    unittest.main()
E
commit "2025-09-08T16:40:00+02:00" "What can be done with a ticket"

# --- 4: what is wanted, as a test ---------------------------------------------------------------
python3 - <<'E'
import pathlib

path = pathlib.Path("tests/test_workflow.py")
text = path.read_text()
text = text.replace(
    "    def test_what_makes_no_sense_is_refused(self):",
    "    def test_steps_are_a_table(self):\n"
    "        self.assertEqual(list(workflow.STEPS), list(workflow.STATES))\n"
    "        self.assertEqual(workflow.STEPS[\"received\"], {\"examine\": \"examined\", \"give back\": \"fetched\"})\n"
    "        self.assertEqual(workflow.STEPS[\"repaired\"], {\"fetch\": \"fetched\"})\n"
    "        self.assertEqual(workflow.STEPS[\"fetched\"], {})\n"
    "\n"
    "    def test_what_makes_no_sense_is_refused(self):",
)
path.write_text(text)
E
commit "2025-09-22T13:05:00+02:00" "Test for a table of steps"

git rev-parse HEAD
