"""Builds the bundled tables from the packages that contain them: ``python -m envs.dsbench.build_tables``.

For maintainers: the tables are committed. Needs ``bokeh-sampledata`` 2026.1, ``palmerpenguins`` 0.1.6,
``statsmodels`` 0.15.0 and ``vega_datasets`` 0.9.0 on the import path; reads their files and runs none of
their code. The same seed gives the same bytes.

Each ``task.yaml`` is written by hand, except for ``labels``, ``baseline`` and ``best``, which are filled in
here. All rows come from the sources: no value is invented or removed. Each table gets new ids in random
order, a new random split and simpler column names, and loses columns that identify a row or leak its target;
``derived`` describes all other changes.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from envs.dsbench.metrics import evaluate, perfect
from envs.dsbench.spec import TABLES, TableSpec, read_spec, write_spec

SEED = 20261122


@dataclass(frozen=True)
class Recipe:
    """How to build one table."""

    load: Callable[[], pd.DataFrame]
    n_train: int
    n_test: int
    group: str = ""
    """A column whose equal values stay on the same side of the split; dropped afterwards."""


def main() -> None:
    for name, recipe in RECIPES.items():
        build(recipe, TABLES / name)


def build(recipe: Recipe, folder: Path) -> None:
    """Writes the four CSV files of ``folder`` and updates its ``task.yaml``."""
    spec = read_spec(folder / "task.yaml")
    target = spec.target_columns[0]
    rng = np.random.default_rng([SEED, zlib.crc32(spec.id.encode())])
    table = recipe.load().dropna(subset=[target])
    table[target] = table.pop(target)  # as the last column
    train, test = _split(table, recipe, rng)
    ids = rng.permutation(len(train) + len(test)) + 1
    train.insert(0, "id", ids[: len(train)])
    test.insert(0, "id", ids[len(train) :])
    answer = test[["id", target]]
    sample = answer.copy()
    sample[target] = _constant(spec, train[target])
    frames = {
        "train": train,
        "test": test.drop(columns=target),
        "sample_submission": sample,
        "answer": answer,
    }
    for name, frame in frames.items():
        frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")
    labels = sorted(str(label) for label in train[target].unique()) if spec.prediction == "label" else []
    spec = replace(spec, labels=labels, best=perfect(spec.metric))
    spec = replace(spec, baseline=_score(spec, answer[target], sample[target]))
    write_spec(spec, folder / "task.yaml")


def _split(
    table: pd.DataFrame, recipe: Recipe, rng: np.random.Generator
) -> tuple[pd.DataFrame, pd.DataFrame]:
    if recipe.group:
        groups = rng.permutation(table[recipe.group].unique())
        share = recipe.n_train / (recipe.n_train + recipe.n_test)
        inside = table[recipe.group].isin(groups[: round(share * len(groups))])
        parts = table[inside], table[~inside]
        train, test = (part.drop(columns=recipe.group).sample(frac=1, random_state=rng) for part in parts)
    else:
        order = rng.permutation(len(table))
        test = table.iloc[order[: recipe.n_test]].copy()
        train = table.iloc[order[recipe.n_test : recipe.n_test + recipe.n_train]].copy()
    return train, test


def _constant(spec: TableSpec, target: pd.Series) -> Any:
    """Returns the constant prediction of the sample submission.

    No honest model predicts it for every row, so that a submission equal to it must be a copy.
    """
    if spec.prediction == "proba":
        return 0.5
    if spec.prediction == "label":
        return target.value_counts().index[-1]
    return round(float(target.mean()), 3)


def _score(spec: TableSpec, truth: pd.Series, guess: pd.Series) -> float:
    dtype = object if spec.prediction == "label" else float
    y, p = (
        (column.astype(str) if spec.prediction == "label" else column).to_numpy(dtype)[:, None]
        for column in (truth, guess)
    )
    return round(evaluate(spec.metric, y, p, spec.labels), 6)


def _file(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"building the tables needs the package {package}; see the docstring of this module")
    return Path(spec.submodule_search_locations[0]) / path


def _bokeh(name: str) -> pd.DataFrame:
    return pd.read_csv(_file("bokeh_sampledata", f"_data/{name}"))


def _titanic() -> pd.DataFrame:
    table = _bokeh("titanic_all.csv").drop(columns="name")
    return table[table["class"] != "*"]


def _films() -> pd.DataFrame:
    """Returns films with at least ten reviews, with a random ``part`` for each of the four tasks on films."""
    columns = """ID, Year AS year, Released AS released, Runtime AS runtime, Rating AS rating, Genre AS genre,
        Country AS country, Language AS language, Metacritic AS metacritic, Oscars AS oscars"""
    with sqlite3.connect(f"file:{_file('bokeh_sampledata', '_data/movies.db')}?mode=ro", uri=True) as db:
        left = pd.read_sql(f"SELECT {columns} FROM omdb", db)
        right = pd.read_sql(
            "SELECT ID, Meter AS tomatometer, Reviews AS reviews, BoxOffice AS gross FROM tomatoes", db
        )
    films = left.merge(right, on="ID").query("reviews >= 10 and tomatometer == tomatometer")
    for column in ("genre", "country", "language"):
        films[column] = films[column].str.split(", ").str[0].replace("", None)
    films["part"] = np.random.default_rng(SEED).integers(4, size=len(films))
    return films.drop(columns="ID")


def _film_fresh() -> pd.DataFrame:
    films = _films().query("part == 0")
    films["verdict"] = np.where(films["tomatometer"] >= 60, "fresh", "rotten")
    return films.drop(columns=["part", "tomatometer", "released", "oscars"])


def _film_oscar() -> pd.DataFrame:
    films = _films().query("part == 1 and reviews >= 20")
    films["oscar"] = (films["oscars"] > 0).astype(int)
    return films[["year", "runtime", "metacritic", "tomatometer", "reviews", "gross", "oscar"]]


def _film_metacritic() -> pd.DataFrame:
    films = _films().query("part == 2")
    return films[["year", "runtime", "tomatometer", "reviews", "gross", "oscars", "metacritic"]]


def _film_gross() -> pd.DataFrame:
    films = _films().query("part == 3 and gross >= 1000")
    films["log_gross"] = np.log10(films["gross"]).round(4)
    return films.drop(columns=["part", "gross", "year", "oscars"])


def _travel() -> pd.DataFrame:
    table = pd.read_csv(_file("statsmodels", "datasets/modechoice/modechoice.csv"), sep=";")
    table["mode"] = table["mode"].map({1: "air", 2: "train", 3: "bus", 4: "car"})
    return table


def _seattle() -> pd.DataFrame:
    return pd.read_csv(_file("vega_datasets", "_data/seattle-weather.csv"))


def _auto_mpg() -> pd.DataFrame:
    table = _bokeh("auto-mpg.csv")
    table["origin"] = table["origin"].map({1: "america", 2: "europe", 3: "asia"})
    table["maker"] = table.pop("name").str.split().str[0]
    return table


def _airports() -> pd.DataFrame:
    return _bokeh("airports.csv").rename(columns=str.lower)[["latitude", "longitude", "altitude"]]


def _lincoln() -> pd.DataFrame:
    table = _bokeh("lincoln_weather.csv").rename(columns={"DATE": "date", "TMIN": "low", "TMAX": "high"})
    return table[["date", "low", "high"]].dropna()


def _cycling() -> pd.DataFrame:
    return _bokeh("cycling.csv.gz")[["altitude", "cadence", "distance", "speed", "power"]]


def _penguins() -> pd.DataFrame:
    table = pd.read_csv(_file("palmerpenguins", "data/penguins-raw.csv"))
    names = {
        "Species": "species",
        "Island": "island",
        "Clutch Completion": "clutch_complete",
        "Date Egg": "egg_date",
        "Culmen Length (mm)": "culmen_length",
        "Culmen Depth (mm)": "culmen_depth",
        "Flipper Length (mm)": "flipper_length",
        "Body Mass (g)": "body_mass",
        "Sex": "sex",
        "Delta 15 N (o/oo)": "delta_15_n",
        "Delta 13 C (o/oo)": "delta_13_c",
    }
    table = table.rename(columns=names)[list(names.values())]
    table["species"] = table["species"].str.split().str[0].str.lower()
    return table


def _penguin_sex() -> pd.DataFrame:
    table = _penguins().drop(columns=["species", "island", "clutch_complete", "egg_date"])
    return (
        table.assign(male=table.pop("sex").map({"MALE": 1, "FEMALE": 0}))
        .dropna(subset="male")
        .astype({"male": int})
    )


def _penguin_mass() -> pd.DataFrame:
    return _penguins().drop(columns=["species", "island", "clutch_complete", "egg_date", "sex"])


def _vehicles() -> pd.DataFrame:
    return _bokeh("auto-mpg2.csv").drop(columns=["Unnamed: 0", "model"], errors="ignore")


def _anes() -> pd.DataFrame:
    table = pd.read_csv(_file("statsmodels", "datasets/anes96/anes96.csv"), sep="\t", quotechar="'")
    table["vote"] = table["vote"].map({0: "clinton", 1: "dole"})
    return table.rename(columns=str.lower)


def _elements() -> pd.DataFrame:
    table = _bokeh("elements.csv").drop(
        columns=["symbol", "name", "CPK", "electronic configuration", "ion radius"]
    )
    return table.rename(columns=lambda name: name.lower().replace(" ", "_").replace("-", "_"))


def _city() -> pd.DataFrame:
    return pd.read_csv(_file("vega_datasets", "_data/sf-temps.csv"))[["date", "temp"]]


RECIPES = {
    "titanic_survival": Recipe(_titanic, 900, 400),
    "film_verdict": Recipe(_film_fresh, 1000, 400),
    "film_oscar": Recipe(_film_oscar, 1000, 500),
    "glass_type": Recipe(lambda: _bokeh("forensic_glass.csv"), 150, 64),
    "travel_choice": Recipe(_travel, 600, 240, group="individual"),
    "seattle_weather": Recipe(_seattle, 1000, 461),
    "film_metacritic": Recipe(_film_metacritic, 1000, 400),
    "film_gross": Recipe(_film_gross, 440, 200),
    "auto_mpg": Recipe(_auto_mpg, 270, 122),
    "airport_altitude": Recipe(_airports, 350, 164),
    "lincoln_high": Recipe(_lincoln, 255, 110),
    "cycling_power": Recipe(_cycling, 1200, 500),
    "penguin_species": Recipe(_penguins, 230, 114),
    "penguin_sex": Recipe(_penguin_sex, 230, 103),
    "vehicle_drive": Recipe(_vehicles, 160, 74),
    "vote_1996": Recipe(_anes, 640, 304),
    "penguin_mass": Recipe(_penguin_mass, 230, 112),
    "vehicle_highway": Recipe(lambda: _vehicles().drop(columns="cty"), 160, 74),
    "element_negativity": Recipe(_elements, 68, 29),
    "city_temperature": Recipe(_city, 1200, 500),
}

if __name__ == "__main__":
    main()
