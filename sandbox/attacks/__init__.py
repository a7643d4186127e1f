"""Programs that attack a sandbox, for ``sandbox.contract``. Each prints BREACH where it succeeds.

They can use these names: SECRET, a host file that everyone may read; OURS, the folder of this project; PID, a
host process; NICE, its priority; SOCKET and ABSTRACT, addresses at which host sockets take datagrams from
everyone; MEMORY, PROCESSES and DISK, the limits, in MB or as a number; and what ``PREAMBLE`` defines, such as
``attempt(what, action)``, which reports a breach unless ``action`` raises or returns -1.
"""

from __future__ import annotations

from sandbox.attacks import files, kernel, memory, processes, streams
from sandbox.attacks.attack import PREAMBLE, Attack

ATTACKS: dict[str, Attack] = {
    **processes.ATTACKS,
    **memory.ATTACKS,
    **files.ATTACKS,
    **kernel.ATTACKS,
    **streams.ATTACKS,
}
"""Name -> attack. The numbers of system calls are those of x86-64; on other machines they are other, harmless
calls, or none."""

__all__ = ["ATTACKS", "PREAMBLE", "Attack"]
