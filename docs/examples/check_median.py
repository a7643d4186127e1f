# check_median.py
from omegaconf import OmegaConf

import conf
from envs import PipelineEnv, contract

scenario = conf.build("envs", OmegaConf.load("my_conf/env/median.yaml"))
backend = conf.build("sandbox", conf.load("sandbox", "local"))
contract.check(lambda: PipelineEnv(scenario, backend))
backend.close()
print("the environment keeps the contract")
