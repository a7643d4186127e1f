"""The system calls that filters name, and their numbers. Standard library only."""

from __future__ import annotations

DENIED = (
    # sockets
    "socket", "connect", "bind", "listen",
    # memory that outlives a process or is not charged to it: SysV, queues, memfd, huge pages held by a pipe
    "vmsplice", "shmget", "shmat", "semget", "msgget", "mq_open", "memfd_create", "memfd_secret",
    # new namespaces or mounts
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr",
    "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "listmount", "statmount",
    # access to other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd",
    # interfaces with a history of escapes
    "personality", "bpf", "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "modify_ldt",
    "init_module", "finit_module", "kexec_load", "kexec_file_load", "open_by_handle_at", "name_to_handle_at",
    "io_uring_setup", "io_uring_enter", "io_uring_register",
    # what the whole machine shares: its log, disks and cache, watches of files, a count of requests
    "syslog", "quotactl", "quotactl_fd", "sync", "syncfs", "cachestat", "io_setup", "fanotify_init",
    "inotify_init", "inotify_init1", "inotify_add_watch",
    # the only call that makes a time slice longer
    "sched_setattr",
)  # fmt: skip
UNDONE = (
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "setxattr",
    "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat",
    "utime", "utimes", "futimesat", "utimensat", "file_setattr",
)  # fmt: skip
"""What Landlock does not restrict on files that are shared with the machine. These changes of a file's mode,
owner, times and attributes are not made but reported as successful, because copying a file makes some."""
NOT_OURS = (
    "setpriority", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "ioprio_set", "migrate_pages",
    "move_pages", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "tkill",
)  # fmt: skip
"""What Landlock does not restrict on processes that are shared with the machine."""
_NEW = {  # the same number on every architecture
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "fsopen": 430,
    "move_mount": 429, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "pidfd_getfd": 438,
    "mount_setattr": 442, "quotactl_fd": 443, "memfd_secret": 447, "cachestat": 451, "fchmodat2": 452,
    "statmount": 457, "listmount": 458, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467,
    "file_setattr": 469, "pidfd_send_signal": 424,
}  # fmt: skip
NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "mmap": 9, "ioctl": 16, "shmget": 29, "shmat": 30, "socket": 41, "connect": 42, "bind": 49,
        "listen": 50, "socketpair": 53, "clone": 56, "kill": 62, "semget": 64, "msgget": 68, "fcntl": 72,
        "chmod": 90, "fchmod": 91, "chown": 92, "fchown": 93, "lchown": 94, "ptrace": 101, "syslog": 103,
        "setsid": 112, "rt_sigqueueinfo": 129, "utime": 132, "personality": 135, "setpriority": 141,
        "sched_setparam": 142, "sched_setscheduler": 144, "modify_ldt": 154, "prctl": 157, "pivot_root": 155,
        "chroot": 161, "sync": 162, "mount": 165, "umount2": 166, "init_module": 175, "quotactl": 179,
        "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
        "fremovexattr": 199, "tkill": 200, "sched_setaffinity": 203, "io_setup": 206, "tgkill": 234,
        "utimes": 235, "mq_open": 240, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250,
        "ioprio_set": 251, "inotify_init": 253, "inotify_add_watch": 254, "migrate_pages": 256,
        "fchownat": 260, "futimesat": 261, "fchmodat": 268, "unshare": 272, "vmsplice": 278,
        "move_pages": 279, "utimensat": 280, "inotify_init1": 294, "rt_tgsigqueueinfo": 297,
        "perf_event_open": 298, "fanotify_init": 300, "prlimit64": 302, "name_to_handle_at": 303,
        "open_by_handle_at": 304, "syncfs": 306, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "sched_setattr": 314, "memfd_create": 319,
        "kexec_file_load": 320, "bpf": 321, "userfaultfd": 323, **_NEW,
    },
    "aarch64": {
        "io_setup": 0, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15,
        "fremovexattr": 16, "fcntl": 25, "inotify_init1": 26, "inotify_add_watch": 27, "ioctl": 29,
        "ioprio_set": 30, "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "fchmod": 52,
        "fchmodat": 53, "fchownat": 54, "fchown": 55, "quotactl": 60, "vmsplice": 75, "sync": 81,
        "utimensat": 88, "personality": 92, "unshare": 97, "kexec_load": 104, "init_module": 105,
        "syslog": 116, "ptrace": 117, "sched_setparam": 118, "sched_setscheduler": 119,
        "sched_setaffinity": 122, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
        "setpriority": 140, "setsid": 157, "prctl": 167, "mq_open": 180, "msgget": 186, "semget": 190,
        "shmget": 194, "shmat": 196, "socket": 198, "socketpair": 199, "bind": 200, "listen": 201,
        "connect": 203, "add_key": 217, "request_key": 218, "keyctl": 219, "clone": 220, "mmap": 222,
        "migrate_pages": 238, "move_pages": 239, "rt_tgsigqueueinfo": 240, "perf_event_open": 241,
        "prlimit64": 261, "fanotify_init": 262, "name_to_handle_at": 264, "open_by_handle_at": 265,
        "syncfs": 267, "setns": 268, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
        "finit_module": 273, "sched_setattr": 274, "memfd_create": 279, "bpf": 280, "userfaultfd": 282,
        "kexec_file_load": 294,
        **_NEW,
    },
}  # fmt: skip
"""Architecture -> name -> number. The table of aarch64 has never been run."""
