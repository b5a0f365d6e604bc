# Notes which functions each test executes. Lies on PYTHONPATH for one run, outside the repository's own files.
import json
import os
import sys
import unittest.case

_root = os.getcwd() + os.sep
_out = os.environ.get("FLEET_SPECTRUM")
_plain = unittest.case.TestCase.run


def _run(self, result=None):
    seen = set()

    def note(frame, event, arg):
        code = frame.f_code
        if code.co_filename.startswith(_root):
            seen.add((code.co_filename[len(_root):], code.co_firstlineno))

    before = sys.gettrace()
    sys.settrace(note)
    try:
        return _plain(self, result)
    finally:
        sys.settrace(before)
        try:
            with open(_out, "a") as out:
                out.write(json.dumps({"test": self.id(), "at": sorted(seen)}) + "\n")
        except OSError:
            pass


if _out:
    unittest.case.TestCase.run = _run
