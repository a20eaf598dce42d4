"""Refuse a module of the user's that hides one of Python's or of an installed package, and name its file.

Python looks for modules first in the current directory (`python -m`, `python -c`, a notebook) or beside the script. A
random.py there takes the place of Python's own, for the frameworks, too, and they fail in words that do not name it.
`watch` installs a finder that compares both places at the moment of an import. So no list of names is needed, and files
that nothing here imports may have any name.

What Python itself imports before this module cannot be watched: beside a types.py, `python -m` does not start at all.
With PYTHONSAFEPATH=1 or `python -P` (Python 3.11), Python does not look there, and nothing is refused.
"""

# The package imports this module before anything else. So it imports only what Python has loaded by then, not `typing`.
import os
import sys
from _frozen_importlib_external import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.machinery import ModuleSpec
    from types import FrameType

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
IMPORT_SYSTEM = ("importlib", "_frozen_importlib", "_frozen_importlib_external")


class Watch:
    """A finder that finds nothing. It ends the process where an import would get a module that hides another one."""

    def __init__(self, directories: "Iterable[str]"):
        self.directories = tuple(directories)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if path is not None:  # within a package
            return
        for directory in self.directories:
            here = PathFinder.find_spec(name, [directory])
            if here is None or not self.serves_this_package(sys._getframe(1)):
                continue
            if here.loader is None and self.elsewhere(name) is None:
                # A plain folder, perhaps the results of another program: not the optional package of that name.
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if self.hides(name, here):
                end(message(name, here))

    def hides(self, name: str, here: "ModuleSpec") -> bool:
        """Return whether Python would import `here`, and would find another module without the watched directories."""
        elsewhere, first = self.elsewhere(name), PathFinder.find_spec(name)
        if here.loader is None or elsewhere is None or elsewhere.loader is None or first is None:  # None: plain folders
            return False
        return first.origin == here.origin

    def elsewhere(self, name: str) -> "ModuleSpec | None":
        return PathFinder.find_spec(name, [entry for entry in sys.path if entry not in self.directories])

    def serves_this_package(self, frame: "FrameType | None") -> bool:
        """Return whether this package causes the import under way, and no module of the user's asks for it itself."""
        while frame and frame.f_globals.get("__name__", "").partition(".")[0] in IMPORT_SYSTEM:
            frame = frame.f_back
        if frame is None or self.is_users(frame) or not is_installed(frame.f_code.co_filename):
            return False
        while frame and not in_package(frame.f_code.co_filename):
            frame = frame.f_back
        return frame is not None

    def is_users(self, frame: "FrameType") -> bool:
        """Return whether the code is in a module below a watched directory, or was typed."""
        file = frame.f_code.co_filename
        if file.startswith("<"):
            return frame.f_globals.get("__name__") == "__main__"
        if in_package(file):
            return False
        folders = {entry: os.path.join(os.path.abspath(entry), "") for entry in sys.path}
        above = [entry for entry, folder in folders.items() if os.path.abspath(file).startswith(folder)]
        return bool(above) and max(above, key=lambda entry: len(folders[entry])) in self.directories


def watch() -> None:
    """Install the finder behind those of Python's built-in modules, which no file can hide."""
    if directories := watched_directories():
        position = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0
        sys.meta_path.insert(position, Watch(directories))


def watched_directories() -> "list[str]":
    """Return those entries of `sys.path` that are the current directory or that of the script.

    One into which packages were installed (`pip install --target=.`) is not watched: they are meant to come first.
    """
    try:
        os.getcwd()
    except OSError:  # it was removed: nothing is found there
        return []
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    places = {os.path.realpath("")}
    if script and not in_package(script):
        places.add(os.path.realpath(os.path.dirname(script)))
    places = {place for place in places if not any(name.endswith(".dist-info") for name in names_in(place))}
    return [entry for entry in dict.fromkeys(sys.path) if os.path.realpath(entry) in places]  # "" is the current one


def names_in(directory: str) -> "list[str]":
    """Return the names in a directory, or [] if it cannot be read."""
    try:
        return os.listdir(directory)
    except OSError:
        return []


def in_package(file: str) -> bool:
    return os.path.abspath(file).startswith(PACKAGE + os.sep)


def is_installed(file: str) -> bool:
    """Return whether code is of this package, of Python, or of an installed package."""
    if file.startswith("<") or in_package(file):
        return True
    prefixes = tuple(os.path.join(prefix, "") for prefix in (sys.prefix, sys.base_prefix))
    return file.startswith(prefixes) or not {"site-packages", "dist-packages"}.isdisjoint(file.split(os.sep))


def hidden(names: "Iterable[str]") -> "dict[str, str]":
    """Return what hides modules of these names where the process started: {name: "/path hides …; rename it …"}."""
    watcher = Watch(watched_directories())
    found = {}
    for name in names:
        for directory in watcher.directories:
            here = PathFinder.find_spec(name, [directory])
            if here and watcher.hides(name, here):
                found[name] = message(name, here)
    return found


def refuse_loaded() -> None:
    """End the process if a module that hides another one was imported before this package was. For after a failure."""
    own = {os.path.realpath(directory) for directory in watched_directories()}
    files = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items()) if "." not in name}
    names = [name for name, file in files.items() if file and os.path.realpath(os.path.dirname(file)) in own]
    for text in hidden(names).values():
        end(text)


def message(name: str, here: "ModuleSpec") -> str:
    """Return what hides what, and what to do, in one line."""
    path = os.path.abspath(here.origin or "")
    if here.submodule_search_locations is not None:  # a package: its folder
        path = os.path.dirname(path)
    what = "Python's own module" if name in sys.stdlib_module_names else "the installed package"
    remedy = "rename it, or start the program from another directory"
    return f"{path} hides {what} {name}; {remedy}".replace("\n", "\\n")


def end(text: str) -> None:
    """End the process with one line and exit code 2. The frameworks' imports would catch any other exception."""
    print(f"error: {text}", file=sys.stderr, flush=True)
    raise SystemExit(2)
