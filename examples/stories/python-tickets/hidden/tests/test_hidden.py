import unittest
from unittest import mock

from repairs import workflow
from repairs.choices import buttons, choices
from repairs.ticket import Ticket

OFFERED = {
    "received": ["examine", "give back"],
    "examined": ["order parts", "repair", "give back"],
    "waiting": ["parts arrive", "give back"],
    "repaired": ["fetch"],
    "fetched": [],
}


class HiddenStepsTest(unittest.TestCase):
    def test_the_table_has_all_steps_and_no_more(self):
        self.assertEqual({state: list(steps) for state, steps in workflow.STEPS.items()}, OFFERED)
        self.assertEqual(workflow.STEPS["examined"],
                         {"order parts": "waiting", "repair": "repaired", "give back": "fetched"})
        self.assertEqual(workflow.STEPS["waiting"], {"parts arrive": "examined", "give back": "fetched"})

    def test_the_same_is_offered_as_before(self):
        for state, actions in OFFERED.items():
            self.assertEqual(list(choices(state)), actions)

    def test_the_same_is_refused_as_before(self):
        every = {action for actions in OFFERED.values() for action in actions}
        for state, actions in OFFERED.items():
            for action in every - set(actions):
                with self.assertRaises(workflow.NotAllowed):
                    workflow.next_state(state, action)

    def test_a_refusal_says_what_it_said(self):
        with self.assertRaisesRegex(workflow.NotAllowed, "^'fetch' makes no sense for what is received$"):
            workflow.next_state("received", "fetch")

    def test_a_step_that_is_added_can_be_done(self):
        with mock.patch.dict(workflow.STEPS["repaired"], {"complain": "received"}):
            self.assertEqual(workflow.next_state("repaired", "complain"), "received")
            ticket = Ticket("Ada")
            for action in ("examine", "repair"):
                ticket.do(action)
            self.assertEqual(buttons(ticket), "[fetch] [complain]")
            ticket.do("complain")
            self.assertEqual(ticket.state, "received")

    def test_a_step_that_is_taken_out_is_gone(self):
        with mock.patch.dict(workflow.STEPS["received"]):
            del workflow.STEPS["received"]["give back"]
            self.assertEqual(list(choices("received")), ["examine"])
            with self.assertRaises(workflow.NotAllowed):
                workflow.next_state("received", "give back")


if __name__ == "__main__":
    unittest.main()
