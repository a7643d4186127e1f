"""Artifacts that attack the process that loads them. Each is a program that runs while ``model.pkl`` is
loaded."""

from __future__ import annotations

MAKE = """
class Deadly:
    def __reduce__(self): return exec, ({code!r},)
import pickle
pickle.dump(Deadly(), open("model.pkl", "wb"))
"""
_FORGE = """
import os
fact = {'type': %s, 'has_predict': True, 'n_features_in': %s}
import json
os.write(1, ("\\n" + json.dumps({'facts': {'model.pkl': fact}, 'rows': {}}) + "\\n").encode())
os._exit(0)
"""
DEADLY = {
    "kills all processes": "import os; os.kill(os.getppid(), 9); os.kill(1, 9); os.kill(-1, 9)",
    "hangs": "while True: pass",
    "forks and hangs": "import os, time\nfor n in range(10): os.fork()\ntime.sleep(60)",
    "eats memory": "kept = []\nwhile True: kept.append(b'x' * (1 << 20))",
    "floods": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "exits": "import os; os._exit(0)",
    "raises SystemExit": "raise SystemExit(0)",
    "raises an exception that cannot be formatted": (
        "class E(BaseException):\n    def __str__(self): raise self\nraise E"
    ),
    "forges the report": _FORGE % ("'LinearRegression'", "3"),
    "forges a report that cannot be encoded": _FORGE % (r"'\ud800'", "3"),
    "forges a report of the wrong kind": _FORGE % ("[]", "1e999"),
    "forges a report without end": _FORGE % ("'x' * 10 ** 6", "3"),
    "forges a deeply nested report": "import os; os.write(1, b'\\n' + b'[' * 30000); os._exit(0)",
    "changes the probe": "import json; json.dumps = lambda *_: '{}'",
}
"""Name -> program."""
