"""The names that a pickle of data or of an estimator may use. Standard library only: the host judges listings
by it, and the probe of artifacts every name before it is imported.

A whole library would let through ``pandas.eval``, ``numpy.load`` or a class whose ``__setstate__`` executes a
text. So data types, and the functions that rebuild them, are listed one by one; of estimators, whose classes
are many, the modules are listed, and everything else in them is replaced by an inert stand-in."""

from __future__ import annotations

from collections.abc import Collection

CLASS, TYPE, FUNCTION, CONSTANT = "class", "type", "function", "constant"
ESTIMATOR, STAND_IN = "estimator", "stand-in"

_ALIASES = {"copy_reg": "copyreg", "__builtin__": "builtins"}
_PYTHON_2 = {
    "builtins.xrange": "builtins.range",
    "builtins.long": "builtins.int",
    "builtins.unicode": "builtins.str",
}
_CONSTANTS = frozenset(
    ("builtins.Ellipsis", "builtins.NotImplemented", "pandas.NA", "pandas._libs.missing.NA")
)


def _words(text: str) -> list[str]:
    return text.split()


_BUILTINS = "bool bytearray bytes complex dict float frozenset int list object range set slice str tuple"
_NUMPY = (
    "bool bool_ bytes_ character clongdouble complex64 complex128 complex256 complexfloating datetime64 "
    "flexible float16 float32 float64 float128 floating generic inexact int8 int16 int32 int64 intc "
    "integer intp longdouble longlong ma.MaskedArray ma.core.MaskedArray matrix memmap ndarray number "
    "object_ rec.recarray rec.record recarray record signedinteger str_ timedelta64 uint8 uint16 uint32 "
    "uint64 uintc uintp ulonglong unsignedinteger void"
)
_OTHER = (
    "collections.Counter collections.OrderedDict collections.defaultdict collections.deque datetime.date "
    "datetime.datetime datetime.time datetime.timedelta datetime.timezone decimal.Decimal "
    "fractions.Fraction joblib.numpy_pickle.NumpyArrayWrapper numpy.dtype numpy.dtypes.StringDType "
    "zoneinfo.ZoneInfo"
)
_CLASSES = frozenset(
    (
        *(f"builtins.{name}" for name in _words(_BUILTINS)),
        *_words(_OTHER),
    )
)
_TYPES = frozenset(f"numpy.{name}" for name in _words(_NUMPY))
"""These may be named and not called: an array of objects could be made from bytes, which are then
references."""
_FUNCTIONS = frozenset(
    _words(
        "_codecs.encode builtins.getattr copyreg._reconstructor "
        "numpy._core._internal._convert_to_stringdtype_kwargs numpy._core.multiarray._reconstruct "
        "numpy._core.multiarray.scalar numpy._core.numeric._frombuffer numpy.ma.core._mareconstruct "
        "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked pandas._libs.internals._unpickle_block "
        "pandas._libs.interval.__pyx_unpickle_IntervalMixin pandas._libs.tslibs.nattype._nat_unpickle "
        "pandas._libs.tslibs.timedeltas._timedelta_unpickle "
        "pandas._libs.tslibs.timestamps._unpickle_timestamp pandas.core.indexes.base._new_Index "
        "pandas.core.indexes.datetimes._new_DatetimeIndex pandas.core.indexes.interval._new_IntervalIndex "
        "pandas.core.indexes.period._new_PeriodIndex pandas.core.indexes.timedeltas._new_TimedeltaIndex "
        "pytz._UTC pytz._p"
    )
)
_PANDAS = frozenset(
    _words(
        "ArrowDtype BlockIndex BlockManager BooleanArray BooleanDtype Categorical CategoricalDtype "
        "CategoricalIndex DataFrame DatetimeArray DatetimeIndex DatetimeTZDtype Flags Float32Dtype "
        "Float64Dtype FloatingArray FrozenList Index Int16Dtype Int32Dtype Int64Dtype Int8Dtype IntIndex "
        "IntegerArray Interval IntervalArray IntervalDtype IntervalIndex MultiIndex NaTType NumpyEADtype "
        "NumpyExtensionArray Period PeriodArray PeriodDtype PeriodIndex RangeIndex Series SingleBlockManager "
        "SparseArray SparseDtype StringArray StringDtype Timedelta TimedeltaArray TimedeltaIndex Timestamp "
        "UInt16Dtype UInt32Dtype UInt64Dtype UInt8Dtype"
    )
)
_PANDAS_PARTS = ("_libs", "arrays", "core")
_OFFSETS = "pandas._libs.tslibs.offsets"
_SPARSE = frozenset(
    f"scipy.sparse._{form}.{form}_{kind}"
    for form in ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")
    for kind in ("array", "matrix")
)
_STAND_INS = frozenset(
    _words(
        "functools.partial "
        "joblib._store_backends.FileSystemStoreBackend joblib.memory.Memory numpy.vectorize "
        "scipy._lib.array_api_compat.numpy._aliases.asarray scipy.interpolate._bsplines.BSpline "
        "scipy.interpolate._interpolate.interp1d sklearn.utils._bunch.Bunch"
    )
)
_STAND_IN_MODULES = (
    "numpy.random._",
    "numpy.random.bit_generator.",
    "scipy.spatial.distance.",
    "scipy.special.",
    "scipy.stats._continuous_distns.",
    "scipy.stats._discrete_distns.",
    "scipy.stats._distn_infrastructure.",
    "sklearn.utils._metadata_requests.",
)
_NUMERIC = frozenset(
    _words(
        "array asanyarray asarray ascontiguousarray asfortranarray "
        "abs absolute arccos arccosh arcsin arcsinh arctan arctanh argmax argmin cbrt ceil clip cos cosh "
        "deg2rad exp exp2 expm1 fabs floor fmax fmin invert isfinite isinf isnan log log10 log1p log2 "
        "logical_not max maximum mean median min minimum nan_to_num nanmax nanmean nanmedian nanmin nanstd "
        "nansum nanvar negative positive power prod rad2deg ravel reciprocal rint round sign sin sinh sqrt "
        "square std subtract sum tan tanh trunc var"
    )
)
"""Functions of numpy that estimators refer to."""
_SKLEARN = frozenset(
    _words(
        "_loss base calibration cluster compose covariance cross_decomposition decomposition "
        "discriminant_analysis dummy ensemble feature_extraction feature_selection frozen gaussian_process "
        "impute isotonic kernel_approximation kernel_ridge linear_model manifold metrics mixture "
        "model_selection multiclass multioutput naive_bayes neighbors neural_network pipeline preprocessing "
        "random_projection semi_supervised svm tree"
    )
)
_NEVER = frozenset(("conftest", "dask", "spark", "testing", "tests"))
"""Parts of libraries with classes that do more than to hold data."""


def kind_of(path: str, packages: Collection[str] = ()) -> str:
    """Returns what the name ``path``, such as ``numpy.ndarray``, stands for; "" if it is foreign.

    ``class``, ``type`` (which is not called), ``function`` or ``constant`` of data; ``estimator``: a class
    that may be an estimator; ``stand-in``: of no importance for what the probe reports. ``packages``: those
    that an environment adds."""
    path = canonical(path)
    if path in _CONSTANTS:
        return CONSTANT
    if path in _FUNCTIONS:
        return FUNCTION
    if path in _CLASSES or path in _SPARSE:
        return CLASS
    if path in _TYPES:
        return TYPE
    module, _, name = path.rpartition(".")
    parts = module.split(".")
    if not _NEVER.isdisjoint(parts) or any(part.startswith("__") for part in parts):
        return ""
    if path in _STAND_INS or path.startswith(_STAND_IN_MODULES) or (module == "numpy" and name in _NUMERIC):
        return STAND_IN
    is_class = name.lstrip("_")[:1].isupper()
    if parts[0] == "pandas" and (len(parts) == 1 or parts[1] in _PANDAS_PARTS):
        return CLASS if name in _PANDAS or (is_class and module == _OFFSETS) else ""
    if parts[0] == "sklearn" and len(parts) > 1 and parts[1] in _SKLEARN:
        return ESTIMATOR if is_class else STAND_IN
    return ESTIMATOR if is_class and parts[0] in packages else ""


def canonical(path: str) -> str:
    """Returns ``path`` by its present name: Python 2's and NumPy 1's are aliases."""
    if path.startswith("numpy.core."):
        return f"numpy._core.{path[11:]}"
    head, _, rest = path.partition(".")
    path = f"{_ALIASES.get(head, head)}.{rest}"
    return _PYTHON_2.get(path, path)
