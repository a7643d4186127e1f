# check_files.py
import conf
from sandbox.artifacts import ArtifactSpec, check_artifacts
from sandbox.base import SandboxSpec

PROGRAM = """
import json, pandas
pandas.DataFrame({"x": [1.0, None, 3.0]}).to_pickle("X.pkl")
json.dump([4, 8], open("answers.json", "w"))
"""
specs = [
    ArtifactSpec("X.pkl", "table", numeric=True, complete=True),
    ArtifactSpec("answers.json", "json", rows=3),
    ArtifactSpec("model.pkl", "estimator"),
]

backend = conf.build("sandbox", conf.load("sandbox", "local"))
sandbox = backend.open(SandboxSpec(preload=("pandas",)))
sandbox.run(PROGRAM)
files = {file.path: file for file in sandbox.list()}
for check in check_artifacts(specs, files, sandbox):
    print(f"{check.name}: {check.code}: {check.detail}")
sandbox.close()
backend.close()
