"""Makes the teaching policy's weights, which ship with the package, for one environment.

    python -m learners.models.tiny_policy dsbench --overwrite
    python -m learners.models.tiny_policy mathchat --out folder

It takes about a minute on one CPU core. Without ``--out``, the weights are written to where ``model=tiny``
reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from conf import ConfigError, commands
from conf.arguments import Parser, add_out, require_new


@commands.one_line_errors()
def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    from learners.models.tiny_policy.demonstrations import ENVIRONMENTS

    parser = Parser("python -m learners.models.tiny_policy", __doc__)
    parser.add_argument("env", choices=ENVIRONMENTS)
    add_out(parser, help="folder for weights, tokenizer and configuration")
    options = parser.parse_args(arguments)
    from learners.models.tiny_policy.shipped import FILE, folder_of, make, save

    out = options.out or folder_of(options.env)
    require_new(options.overwrite, out)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made, record = make(options.env)
    try:
        save(made, record, out)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}") from error
    print(f"written: {out / FILE}; held-out loss {record.heldout_loss:.4f}")


if __name__ == "__main__":
    main()
