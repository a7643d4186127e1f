"""An unpickler that builds data and estimators of known libraries, and never runs what a pickle names. Part
of the probe of artifacts, inside a sandbox; standard library, and numpy where an array is read.

A pickle can do four things beside holding values, and each is bounded here: it names objects
(``sandbox.guest.names``), calls them (only types of data and listed functions), sets state (only on
instances, never on a class, and never so that an attribute hides a method), and adds items (only to plain
containers). What the report does not depend on, such as the trees of a forest or a random state, becomes an
inert ``StandIn``. It is Python's own unpickler in Python, which joblib's derives from too, because the one in
C has a hook for names alone."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import pickle
import sys
import zlib
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from sandbox.guest.names import CLASS, CONSTANT, ESTIMATOR, FUNCTION, TYPE, canonical, kind_of

_COMPRESSED: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ", lzma.decompress),
    (b"\x5d\x00", lzma.decompress),
    (b"x\x01", zlib.decompress),
    (b"x\x5e", zlib.decompress),
    (b"x\x9c", zlib.decompress),
    (b"x\xda", zlib.decompress),
)
"""The beginnings of files that joblib compressed."""
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive, which is not read: save it without compression, or with joblib's"),
    (
        b"\x93NUMPY",
        "an array as numpy.save writes it, not a pickle: name it .npy, or save it with joblib.dump",
    ),
)
"""The beginnings of files that are no pickles, though their names say so."""
_REBUILD = ("__bit_generator_ctor", "__generator_ctor", "__pyx_unpickle_", "__randomstate_ctor", "newObj")
"""Functions of these names make objects that become stand-ins; any other function is only referred to."""


class ForeignError(Exception):
    """A pickle names, calls or changes something that is neither data nor an estimator."""


class StandIn:
    """Takes the place of what the report does not depend on: ``origin``, which the pickle names, or an object
    that it ``made`` with it and gave a ``state``."""

    def __init__(self, path: str, origin: Any = None, made: bool = False) -> None:
        self.path, self.origin, self.made = path, origin, made
        self.state: Any = None


class _JoblibArray:
    """What joblib stores before the bytes of an array."""


def load(data: bytes, packages: Collection[str]) -> Any:
    """Returns the content of a pickle, also of one that joblib wrote or compressed.

    Raises:
        ForeignError: with the name.
        Exception: any other if the file is damaged.
    """
    for magic, what in _OTHERS:
        if data.startswith(magic):
            raise ValueError(f"it is {what}")
    for magic, decompress in _COMPRESSED:
        if data.startswith(magic):
            data = decompress(data)
            break
    return _Unpickler(io.BytesIO(data), packages).load()


_Python: Any = pickle._Unpickler


class _Unpickler(_Python):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, packages: Collection[str]) -> None:
        super().__init__(file)
        self.file, self.packages = file, packages
        self.named: dict[int, tuple[str, str, Any]] = {}
        """Id of an object that was named -> its kind, its name, and the object itself, which keeps the id."""
        self.own = {
            "_codecs.encode": _encode,
            "builtins.getattr": self._attribute,
            "copyreg._reconstructor": self._reconstruct,
            "joblib.numpy_pickle.NumpyArrayWrapper": _JoblibArray,
        }

    def find_class(self, module: str, name: str) -> Any:
        path = canonical(f"{module}.{name}")
        kind = kind_of(path, self.packages)
        if not kind:
            raise ForeignError(path)
        found = self.own.get(path)
        if found is None:
            parts = name.count(".") + 1
            found = _resolve(path.rsplit(".", parts)[0], path.rsplit(".", parts)[1:])
            if kind not in (FUNCTION, CONSTANT):
                _check_origin(path, found, kind_of(_origin(found), self.packages))
            if kind not in (CLASS, TYPE, FUNCTION, CONSTANT) and not _is_estimator(found):
                return StandIn(path, found)
        return self._remember(kind, path, found)

    def _remember(self, kind: str, path: str, found: Any) -> Any:
        self.named[id(found)] = (kind, path, found)
        return found

    def _kind(self, thing: Any) -> tuple[str, str]:
        """Returns the kind and the name of something that the pickle calls or instantiates."""
        return self.named.get(id(thing), ("", type(thing).__name__))[:2]

    def _call(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if type(function) is StandIn:
            if isinstance(function.origin, type) or function.path.rpartition(".")[2].startswith(_REBUILD):
                return StandIn(function.path, function.origin, made=True)
            raise ForeignError(function.path)
        kind, path = self._kind(function)
        makes_index = path.startswith("pandas.core.indexes.")  # of any class that it is given
        if kind not in (CLASS, FUNCTION) or (
            makes_index and not self._kind(arguments[0])[1].endswith("Index")
        ):
            raise ForeignError(path)
        return function(*arguments)

    def _new(self, cls: Any, arguments: Any, named: Any) -> Any:
        if type(cls) is StandIn:
            return self._call(cls, ())
        kind, path = self._kind(cls)
        if kind not in (CLASS, ESTIMATOR):
            raise ForeignError(path)
        return cls.__new__(cls, *arguments, **named)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], tuple(arguments))

    def load_newobj(self) -> None:
        arguments, cls = self.stack.pop(), self.stack.pop()
        self.append(self._new(cls, arguments, {}))

    def load_newobj_ex(self) -> None:
        named, arguments, cls = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.append(self._new(cls, arguments, named))

    def _instantiate(self, klass: Any, args: list[Any]) -> None:
        self.append(self._call(klass, tuple(args)))

    def load_build(self) -> None:
        state, instance = self.stack.pop(), self.stack[-1]
        if id(instance) in self.named:
            raise ForeignError(self.named[id(instance)][1])  # it would change a class of a library
        if type(instance) is _JoblibArray:
            self.stack[-1] = self._array(dict(state))
        elif type(instance) is StandIn:
            _check_distribution(instance, state)
            instance.state = state
        elif _check_state(instance, state):
            self.append(state)
            super().load_build()

    def _array(self, state: dict[str, Any]) -> Any:
        """Reads an array, which joblib stores after its description."""
        import numpy

        dtype, shape = state["dtype"], [int(size) for size in state["shape"]]
        if not isinstance(dtype, numpy.dtype):
            raise TypeError("not a dtype")
        if dtype.hasobject:
            return _Unpickler(self.file, self.packages).load()
        if state.get("numpy_array_alignment_bytes") is not None:
            self.file.read(self.file.read(1)[0])
        size = math.prod(shape)
        array = numpy.frombuffer(self.file.read(size * dtype.itemsize), dtype=dtype, count=size)
        return array.reshape(shape, order="F" if state["order"] == "F" else "C")

    def _takes(self, *kinds: type) -> bool:
        """Returns whether the object on the stack takes items: a stand-in ignores them."""
        if type(self.stack[-1]) is StandIn:
            return False
        if not isinstance(self.stack[-1], kinds):
            raise ForeignError(type(self.stack[-1]).__name__)
        return True

    def _extend(self, items: list[Any]) -> None:
        if self._takes(list, deque):
            self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        if self._takes(dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                self.stack[-1][key] = value

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def load_setitem(self) -> None:
        self._update([self.stack.pop(-2), self.stack.pop()])

    def load_setitems(self) -> None:
        self._update(self.pop_mark())

    def load_additems(self) -> None:
        items = self.pop_mark()
        if self._takes(set):
            self.stack[-1].update(items)

    def _reconstruct(self, cls: Any, base: Any, state: Any) -> Any:
        """``copyreg._reconstructor``: how instances are made in old protocols."""
        if base is object or type(cls) is StandIn:
            return self._new(cls, (), {})
        made = self._new(cls, (state,), {})
        for container in (dict, list, set):
            if base is container:
                container.__init__(made, state)
        return made

    def _attribute(self, thing: Any, name: str) -> Any:
        """``getattr``: how methods are pickled. Only the one that rebuilds a time zone is ever called; those
        of texts may be referred to."""
        if type(thing) is StandIn:
            return StandIn(f"{thing.path}.{name}")
        if self._kind(thing)[1] == "zoneinfo.ZoneInfo" and name == "_unpickle":
            return self._remember(FUNCTION, "zoneinfo.ZoneInfo._unpickle", thing._unpickle)
        if (thing is str or thing is bytes) and not name.startswith("_") and callable(vars(thing).get(name)):
            return StandIn(f"builtins.{thing.__name__}.{name}")
        owner = thing if isinstance(thing, type) else type(thing)
        raise ForeignError(f"builtins.getattr of {owner.__name__}.{str(name)[:100]}")

    dispatch: ClassVar[dict[int, Any]] = {
        **_Python.dispatch,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.ADDITEMS[0]: load_additems,
    }


def _resolve(module: str, names: list[str]) -> Any:
    __import__(module)
    found: Any = sys.modules[module]
    for name in names:
        found = getattr(found, name)
    return found


def _origin(found: Any) -> str:
    return f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', None)}"


def _check_origin(path: str, found: Any, kind: str) -> None:
    """Refuses what a library only imported from elsewhere, as ``sklearn.base.warnings.warn``."""
    if not kind and type(found).__name__ not in ("ufunc", "MultiUFunc"):
        raise ForeignError(_origin(found) if hasattr(found, "__qualname__") else path)


def _is_estimator(found: Any) -> bool:
    base = sys.modules.get("sklearn.base")
    return base is not None and isinstance(found, type) and issubclass(found, base.BaseEstimator)


def _encode(text: str, encoding: str) -> bytes:
    """``_codecs.encode``: how bytes are pickled in old protocols."""
    if encoding != "latin1":
        raise ForeignError("_codecs.encode")
    return text.encode("latin1")


def _check_distribution(stand_in: StandIn, state: Any) -> None:
    """Refuses a distribution of scipy with another text than its own: scipy executes it when it loads one."""
    if not stand_in.path.startswith("scipy.stats."):
        return
    if type(state) is not dict:
        raise ForeignError(stand_in.path)
    text = state.get("_parse_arg_template")
    genuine = [each for each in vars(sys.modules["scipy.stats"]).values() if type(each) is stand_in.origin]
    if text is not None and text not in [getattr(each, "_parse_arg_template", None) for each in genuine]:
        raise ForeignError(stand_in.path)


def _check_state(instance: Any, state: Any) -> bool:
    """Refuses a state that hides a method of its class or an attribute of the language. Returns whether it
    has to be set."""
    cls = type(instance)
    numpy = sys.modules.get("numpy")
    if numpy and isinstance(instance, numpy.dtype):
        return _check_dtype(instance, state)
    for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
        for name in part if isinstance(part, dict) else ():
            if not isinstance(name, str) or name.startswith("__") or callable(getattr(cls, name, None)):
                raise ForeignError(f"{cls.__name__}.{str(name)[:100]}")
    return True


def _check_dtype(dtype: Any, state: Any) -> bool:
    """Refuses a state that no dtype of its description has: numpy would read bytes as references."""
    import numpy

    _, _, base, names, fields, size, alignment, flags = state[:8]
    if names:
        formats, offsets = [fields[name][0] for name in names], [fields[name][1] for name in names]
        description = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
        genuine: Any = numpy.dtype(description, align=alignment > 1)  # type: ignore[call-overload]
    else:
        genuine = numpy.dtype(base or dtype.str)
    if genuine.__reduce__()[2][5:8] != (size, alignment, flags):
        raise ForeignError("numpy.dtype")
    return dtype is not numpy.dtype(dtype.str)  # one that everything shares
