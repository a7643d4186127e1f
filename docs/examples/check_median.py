# check_median.py
import envs
from envs import contract

contract.check(lambda: envs.make("my_conf/env/median.yaml", sandbox="local"))
print("the environment keeps the contract")
