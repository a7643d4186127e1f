"""``python -m envs.mathchat.graded``"""

from envs.mathchat.graded import main

if __name__ == "__main__":
    main()
