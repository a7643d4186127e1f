"""Programs that hide a text in one sandbox, and that look for it in another."""

from __future__ import annotations

HIDE = """
import os
text = {first!r} + {second!r}
kept = [text.encode() * 50 for number in range(500)]
os.environ["CANARY"] = text
for folder in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/dev/mqueue"):
    for name in ("canary", ".canary", text):
        try: open(os.path.join(folder, name), "w").write(text * 100)
        except OSError: pass
os.truncate("canary", 0)
os.unlink("canary")
"""
LOOK = """
import ctypes, os, sys
first, second = {first!r}.encode(), {second!r}.encode()  # never side by side in this program itself
places = []
def look(what, data):
    place = data.find(first)
    while place >= 0:
        place += len(first)
        if data[place : place + len(second)] == second: places.append(what)
        place = data.find(first, place)
{extra}
for name, value in os.environb.items(): look("environment", name + b"=" + value)
for top in (".", "/tmp", "/dev/shm", "/var/tmp", "/run", "/dev/mqueue", "/proc/1", "/proc/self"):
    for root, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in ("task", "fd", "map_files", "net")]
        for name in names:
            look("name", os.fsencode(name))
            if name in ("mem", "pagemap", "kmsg", "clear_refs", "attr"): continue
            try:
                with open(os.open(os.path.join(root, name), os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                    look(os.path.join(root, name), file.read(1 << 20))
            except (OSError, ValueError): pass
libc = ctypes.CDLL(None, use_errno=True)
libc.sbrk.restype = ctypes.c_void_p
read, write = os.pipe()
pages = {{0}}
def page(address):
    # a page of memory, or None where there is none, which the kernel finds out without a crash
    if libc.write(write, ctypes.c_void_p(address), ctypes.c_size_t(4096)) != 4096: return None
    return os.read(read, 4096)
def walk(address, step):
    before = b""
    while address not in pages and len(pages) < 60000:
        pages.add(address)
        data = page(address)
        if data is None: return
        look("memory", before[-100:] + data if step > 0 else data + before[:100])
        before, address = data, address + step
large = ctypes.create_string_buffer(1 << 20)
starts = [libc.sbrk(0) - 4096, id(None), id(sys.modules), ctypes.addressof(large)]
starts += [id(thing) for thing in (*sys.modules.values(), *sys.modules["__main__"].__dict__.values())]
for start in starts:
    start &= -4096
    walk(start, 4096)
    walk(start - 4096, -4096)
print(len(pages), "pages", *sorted(set(places)))
"""
