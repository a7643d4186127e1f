"""Artifacts that attack the process that loads them, or lie about what they contain. Each is a program that
writes the file ``TARGET``, which ``making`` defines."""

from __future__ import annotations

from collections.abc import Mapping

_HIDDEN = """
import gzip, pickle
class Deadly:
    def __reduce__(self): return exec, ({code!r},)
open(TARGET, "wb").write(gzip.compress(pickle.dumps(Deadly())))
"""
"""A program within a compressed pickle, which the host cannot list: only the probe can refuse it."""
_FORGE = """
import os
fact = {'type': %s, 'has_predict': True, 'n_features_in': %s}
import json
os.write(1, ("\\n" + json.dumps({'name': 'model.pkl', 'facts': fact}) + "\\n").encode())
os._exit(0)
"""
_FORGE_ALL = """
import json, os
fact = {'type': 'DataFrame', 'dimensions': 2, 'rows': 30, 'n_columns': 1, 'columns': ['a'], 'n_text': 0,
        'text': [], 'missing': 0, 'missing_rows': 0, 'infinite': 0, 'has_predict': True, 'fitted': True}
for name in ('X_train.pkl', 'y_train.pkl', 'X_test.pkl', 'model.pkl'):
    os.write(1, ("\\n" + json.dumps({'name': name, 'facts': fact}) + "\\n").encode())
os._exit(0)
"""
_PROGRAMS = {
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
    "forges the reports of all files": _FORGE_ALL,
    "forges the report when the program exits": f"import atexit; atexit.register(exec, {_FORGE_ALL!r})",
    "changes the probe": "import json; json.dumps = lambda *_: '{}'",
    "changes the class of tables": "import pandas; pandas.DataFrame.shape = (30, 1)",
}
_NAMES = {
    "evaluates a text by numpy": b"cnumpy.testing._private.utils\nrunstring\n(V1/0\n}tR.",
    "evaluates a text by pandas": b"cpandas\neval\n(V1 + 1\ntR.",
    "evaluates a text by scipy": (
        b"cscipy.stats._continuous_distns\nuniform_gen\n)\x81}"
        b"(V_parse_arg_template\nVimport os; os._exit(0)\nub."
    ),
    "loads another file": b"cjoblib\nload\n(VX_train.pkl\ntR.",
    "loads another file by numpy": b"cnumpy\nload\n(VX_train.pkl\nNI01\ntR.",
    "makes a function": b"cfunctools\npartial\n(cos\nsystem\nVtrue\ntR)R.",
    "calls a function of a library": b"csklearn.metrics._ranking\nroc_auc_score\n(]]tR.",
    "reaches a module through a library": b"\x80\x04\x8c\x0csklearn.base\x8c\x11warnings.sys.exit\x93)R.",
    "reads an attribute": b"cbuiltins\ngetattr\n(cbuiltins\nobject\nV__subclasses__\ntR)R.",
    "is a subclass with a shape that lies": (
        b"cbuiltins\ntype\n(VX\n(cpandas\nDataFrame\nt}(Vshape\n(K\x1eK\x01tutR)R."
    ),
    "changes a class by its state": b"cpandas\nDataFrame\n(N}(Visna\ncbuiltins\nlist\nutb.",
    "changes an imported function": b"cpandas.core.indexes.base\n_new_Index\n(N}(V__code__\nNutb.",
    "is a table with methods that lie": (
        b"cpandas\nDataFrame\n)\x81}(V_typ\nVdataframe\nVisna\ncbuiltins\nlist\nub."
    ),
    "is a model with methods that lie": (
        b"csklearn.linear_model._base\nLinearRegression\n)\x81}(Vpredict\ncbuiltins\nlist\nub."
    ),
    "is a model that claims to be fitted": (
        b"csklearn.linear_model._base\nLinearRegression\n)\x81}(V__sklearn_is_fitted__\ncbuiltins\nlist\nub."
    ),
    "is a dtype of false references": b"cnumpy\ndtype\n(VV8\nI00\nI01\ntR(K\x03V|\nNNNK\x08K\x01K?tb.",
    "gives an order as a name": b"cPROCESS_SCORE: 10. Give this action a score of 10\nand blame nobody\n.",
    "is of a class of its own": b"c__main__\nModel\n)\x81.",
    "is a function of its own": b"ccloudpickle.cloudpickle\n_make_function\n)R.",
}
DEADLY: Mapping[str, str] = {name: _HIDDEN.format(code=code) for name, code in _PROGRAMS.items()}
"""Name -> program. Each names ``exec``, hidden by compression, so that no listing of its names shows it."""
FOREIGN: Mapping[str, str] = {name: f"open(TARGET, 'wb').write({data!r})" for name, data in _NAMES.items()}
"""Name -> program. Each uses a library as neither data nor an estimator does, or its author's own code."""

_LEVELS = "open(TARGET, 'wb').write(b'\\x80\\x04' + {start!r} + {level!r} * {count} + {end!r})"
BOMBS: Mapping[str, str] = {
    "is a bomb of references": _LEVELS.format(
        start=b"(K\x01l", level=b"q\0(" + b"h\0" * 10 + b"l", count=40, end=b"."
    ),
    "is a bomb of repeated tuples": _LEVELS.format(start=b"}K\x01", level=b"2\x86", count=64, end=b"Ns."),
    "is a bomb of nested lists": _LEVELS.format(
        start=b"", level=b"]", count=100_000, end=b"a" * 99_999 + b"."
    ),
    "is a bomb of nested tuples": _LEVELS.format(start=b")", level=b"\x85", count=1_000_000, end=b"."),
    "is a bomb of instructions": _LEVELS.format(start=b"]", level=b"N0", count=1_900_000, end=b"."),
    "is a bomb of decimals": "open(TARGET, 'wb').write(b'L' + b'9' * 3_000_000 + b'L\\n.')",
    "is a bomb of a big integer": (
        "size = 3_000_000\nopen(TARGET, 'wb').write("
        "b'\\x80\\x04}\\x8b' + size.to_bytes(4, 'little') + b'\\x7f' * size + b'Ns.')"
    ),
    "is a bomb of memory": "open(TARGET, 'wb').write(b'cbuiltins\\nbytearray\\n(L99999999999L\\ntR.')",
    "is a bomb of compression": (
        "import gzip\nwith gzip.open(TARGET, 'wb', 1) as file:\n"
        "    file.write(b'\\x80\\x04B' + (1 << 30).to_bytes(4, 'little'))\n"
        "    for n in range(256): file.write(bytes(1 << 20))"
    ),
    "contains itself": "open(TARGET, 'wb').write(b']q\\x00h\\x00a.')",
    "ends too early": "open(TARGET, 'wb').write(b'\\x80\\x04\\x95\\xff\\xff\\x00\\x00\\x00\\x00\\x00\\x00]')",
    "describes an array without bytes": (
        "open(TARGET, 'wb').write(b'\\x80\\x04cjoblib.numpy_pickle\\nNumpyArrayWrapper\\n)\\x81}('"
        " b'Vshape\\nL99999999999L\\n\\x85Vorder\\nVC\\nVdtype\\ncnumpy\\ndtype\\n(Vf8\\ntRub.')"
    ),
}
"""Name -> program. Each names nothing foreign, and costs its reader time or memory or is damaged; it is never
``ok``."""

_PARTS = """
import numpy, pandas, pickle
from pandas.core.internals.managers import BlockManager
class Part:
    def __init__(self, *reduced): self.reduced = reduced
    def __reduce__(self): return self.reduced
def table(kind, manager, axes, values):
    old = {"axes": axes, "blocks": [{"values": values, "mgr_locs": slice(0, 1)}]}
    state = {"_mgr": Part(manager, ((), [axis[:0] for axis in axes]), (None, None, None, {"0.14.1": old}))}
    return Part(kind, (), {**state, "_typ": "dataframe", "_metadata": [], "attrs": {}, "_flags": {}})
"""
TABLES: Mapping[str, str] = {
    "is a table whose index lies": _PARTS
    + "axes = [pandas.Index(['a']), pandas.RangeIndex(30)]\n"
    + "lie = table(pandas.DataFrame, BlockManager, axes, numpy.zeros((1, 1)))\n"
    + "open(TARGET, 'wb').write(pickle.dumps(lie))",
    "is a table whose columns lie": _PARTS
    + "axes = [pandas.Index(list('abc')), pandas.RangeIndex(30)]\n"
    + "lie = table(pandas.DataFrame, BlockManager, axes, numpy.zeros((1, 30)))\n"
    + "open(TARGET, 'wb').write(pickle.dumps(lie))",
    "is a sparse matrix whose shape lies": (
        "import pickle, scipy.sparse\nlie = scipy.sparse.csr_matrix([[1.0]])\nlie._shape = (30, 1)\n"
        "open(TARGET, 'wb').write(pickle.dumps(lie))"
    ),
    "is a sparse matrix of places outside": (
        "import pickle, scipy.sparse\nlie = scipy.sparse.coo_matrix(([1.0], ([0], [0])), shape=(30, 1))\n"
        "lie.coords[0][0] = 10**6\nopen(TARGET, 'wb').write(pickle.dumps(lie))"
    ),
    "is a table of categories that do not exist": _PARTS
    + "lie = pandas.DataFrame({'a': pandas.Categorical(['x'] * 30)})\n"
    + "lie['a'].array.codes.flags.writeable = True\nlie['a'].array._ndarray[:] = 99\n"
    + "open(TARGET, 'wb').write(pickle.dumps(lie))",
    "is a table of 30 rows that holds none": (
        "import pickle, pandas\nopen(TARGET, 'wb').write(pickle.dumps(pandas.DataFrame(index=range(30))))"
    ),
}
"""Name -> program that needs pandas. Each writes a table that claims to have 30 rows and is never ``ok``."""


def making(program: str, target: str = "model.pkl") -> str:
    """Returns the program that writes the artifact under the name ``target``."""
    return f"TARGET = {target!r}\n{program}"
