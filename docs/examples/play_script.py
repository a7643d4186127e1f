# play_script.py
import envs

PREPARE = """
import pandas as pd
train, test, sample = (pd.read_csv(f"{name}.csv") for name in ("train", "test", "sample_submission"))
id, target = sample.columns[0], list(sample.columns[1:])
both = pd.get_dummies(pd.concat([train, test]).drop(columns=[id, *target]), dtype=float).fillna(-1)
both[: len(train)].to_pickle("X_train.pkl")
both[len(train) :].to_pickle("X_test.pkl")
train[target[0]].to_pickle("y_train.pkl")
"""
FIT = """
import joblib, pandas as pd
from sklearn.ensemble import RandomForestClassifier
X, y = pd.read_pickle("X_train.pkl"), pd.read_pickle("y_train.pkl")
model = RandomForestClassifier(random_state=0).fit(X, y)
joblib.dump(model, "model.pkl")
"""
SUBMIT = """
import joblib, pandas as pd
sample = pd.read_csv("sample_submission.csv")
sample[sample.columns[1]] = joblib.load("model.pkl").predict(pd.read_pickle("X_test.pkl"))
sample.to_csv("submission.csv", index=False)
"""
programs = {"data_engineer": PREPARE, "modeler": FIT, "analyst": SUBMIT}

env = envs.make("dsbench", sandbox="local", tasks=["glass_type"])
env.reset(seed=0)
for agent in env.agent_iter():
    observation, reward, terminated, truncated, info = env.last()
    if terminated or truncated:
        env.step(None)
    elif agent in programs:
        env.step(f"```python\n{programs.pop(agent)}\n```")
    else:
        env.step("The files are ready.")
print([(turn.agent, turn.result and turn.result.status) for turn in env.turns])
print(env.outcome.failure_code, f"{env.outcome.score:.2f}")
env.close()
