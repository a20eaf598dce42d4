# Sourced by the scripts beside it: `environment [EXTRA]` returns once .venv holds the project (and EXTRA).
#
# .venv/ready is the only thing trusted. It says what .venv was made from, is removed before pip starts
# and written after pip has succeeded; so an interrupted set-up is never taken for a finished one.
# Nothing here writes to standard output, and no Python is started when .venv is ready.

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
venv=$root/.venv

# Each of these would lead Python or pip out of .venv.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }

recipe() {  # recipe PYTHON EXTRA: all that decides what .venv holds
    printf '%s\n' "$1" "$2" "$root" "$(<"$root/pyproject.toml")" "$(<"$root/scripts/constraints.txt")"
}

look() {  # look EXTRA: sets `python`, `extra`, and `state` to ready, stale (whole, but of another recipe) or absent
    state=absent python=${PYTHON:-} extra=$1
    local made_with='' had='' place=''
    [ -x "$venv/bin/python" ] && [ -f "$venv/ready" ] || return 0
    { read -r made_with; read -r had; read -r place; } <"$venv/ready" || return 0
    [ "$place" = "$root" ] && [ "${python:=$made_with}" = "$made_with" ] || return 0
    extra=${extra:-$had}
    state=stale
    [ "$(<"$venv/ready")" != "$(recipe "$python" "$extra")" ] || state=ready
}

choose_python() {  # sets `base` to the first Python that really runs, has a fitting version and can make a venv
    local name said found=
    set -- python3 python3.13 python3.12 python3.11 python3.10 python
    [ -z "${PYTHON:-}" ] || set -- "$PYTHON"
    for name; do
        command -v "$name" >/dev/null || continue
        # The real path, so that .venv dangles, and is made anew, when that Python is removed or replaced.
        if said=$("$name" -Es -c 'import os, sys
print("%d.%d %s" % (sys.version_info[0], sys.version_info[1], os.path.realpath(sys.executable)))
sys.path = [place for place in sys.path if place]  # without the random.py that lies where you stand
import ensurepip, venv' 2>/dev/null); then
            case $said in 3.1[0-3]\ *) base=${said#* }; return ;; esac
            found+=", $name is ${said%% *}"
        elif [ -n "$said" ]; then found+=", $name is ${said%% *} without venv"
        else found+=", $name does not run"; fi
    done
    found=${found#, }
    fail "Expected ${PYTHON:+PYTHON=$PYTHON to be }Python 3.10 to 3.13 with venv; found ${found:-none}." \
        "Install one (Debian, Ubuntu: apt install python3-venv; macOS: brew install python@3.13)" \
        "or name one: PYTHON=/path/to/python3.13 $0"
}

lock() {  # file descriptor 9 holds it until we close it, or the kernel does when we and pip are gone: never stale
    exec 9>>"$root/scripts/environment.sh"  # opened for appending, never written
    "$base" -I -c 'import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.stderr.write("waiting for another call that sets up .venv ...\n")
    fcntl.flock(9, fcntl.LOCK_EX)'
}

environment() {
    look "${1:-}"
    [ $state != ready ] || return 0
    choose_python
    lock
    look "${1:-}"  # another call may have done it meanwhile
    if [ -L "$venv" ]; then fail "Expected $venv to be a directory of its own, it is a link; remove it, then try again: $0"; fi
    if [ $state != ready ]; then set_up; fi
    exec 9>&-
}

set_up() {
    local log made_from
    log=$(mktemp)
    trap 'rm -f "$log"; exit 130' INT  # whoever presses Ctrl-C needs no advice about pip
    rm -f "$venv/ready"
    if [ $state = stale ]; then say "bringing .venv up to date ..."; else
        say "setting up .venv with $base (once; about a minute) ..."
        "$base" -I -m venv --clear "$venv" >"$log" 2>&1 || give_up "$log" "Could not make $venv with $base."
        python=${PYTHON:-$base}
    fi
    made_from=$(recipe "$python" "$extra")  # before pip reads it: an edit meanwhile must count as a change
    (cd "$root" && .venv/bin/python -m pip install --quiet --no-input --no-user --constraint scripts/constraints.txt \
        --editable ".${extra:+[$extra]}") >"$log" 2>&1 \
        || give_up "$log" "Could not install into $venv: see above. With a package registry in reach, try again: $0"
    printf '%s\n' "$made_from" >"$venv/ready.part" && mv "$venv/ready.part" "$venv/ready"
    rm -f "$log"
    trap - INT
}

give_up() {  # give_up LOG MESSAGE
    tail -n 5 "$1" >&2
    rm -f "$1"
    fail "$2"
}
