# Sourced by the scripts beside it: `environment [EXTRA]` returns once .venv holds the project (and EXTRA).
#
# Only .venv/ready is trusted. It records what .venv was made from; it is removed before pip starts and written after pip
# has succeeded, so that an interrupted set-up is never mistaken for a finished one.
# Nothing here writes to standard output, and no Python is started when .venv is ready.
# Where uv is installed it does what venv and pip do, in less time, and fetches a Python where none fits.

root=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
venv=$root/.venv

# With any of these, Python, pip or uv would work outside .venv.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV PIP_USER PIP_TARGET PIP_PREFIX UV_PYTHON UV_SYSTEM_PYTHON
# Without a home directory pip would keep its cache in a folder called ~ in the clone.
if [[ ${HOME:-} != /?* || ! -d $HOME ]]; then export PIP_NO_CACHE_DIR=1 UV_NO_CACHE=1; fi
uv=$(command -v uv || :)

say() { printf '%s\n' "$*" >&2; }
fail() { say "$*"; exit 2; }

recipe() {  # recipe PYTHON EXTRA: everything that determines the contents of .venv
    printf '%s\n' "$1" "$2" "$root" "$(<"$root/pyproject.toml")" "$(<"$root/scripts/constraints.txt")"
}

inspect() {  # inspect EXTRA: sets `python`, `extra`, and `state`: ready, stale (complete, of another recipe) or absent
    state=absent python=${PYTHON:-} extra=$1
    local made_with='' had='' made_in=''
    [ -x "$venv/bin/python" ] && [ -f "$venv/ready" ] || return 0
    { read -r made_with; read -r had; read -r made_in; } <"$venv/ready" || return 0
    [ "$made_in" = "$root" ] && [ "${python:=$made_with}" = "$made_with" ] || return 0
    extra=${extra:-$had}
    state=stale
    [ "$(<"$venv/ready")" != "$(recipe "$python" "$extra")" ] || state=ready
}

choose_python() {  # sets `base` to the first Python that runs, is supported and can make a venv, which uv does itself
    local name answer found='' newest='' modules='ensurepip, venv'
    [ -z "$uv" ] || modules=fcntl
    set -- python3 python3.13 python3.12 python3.11 python3.10 python3.14 python
    [ -z "${PYTHON:-}" ] || set -- "$PYTHON"
    for name; do
        command -v "$name" >/dev/null || continue
        # The real path: when that Python is removed or replaced, .venv dangles and is made again.
        if answer=$("$name" -Es -c 'import os, sys
print("%d.%d %s" % (sys.version_info[0], sys.version_info[1], os.path.realpath(sys.executable)))
sys.path = [path for path in sys.path if path]  # without the current directory, which may hold a random.py
import '"$modules" 2>/dev/null); then
            case $answer in
                3.1[0-3]\ *) base=${answer#* }; return ;;
                3.14\ *) newest=${newest:-${answer#* }}; continue ;;  # without TensorFlow: only if there is no other
            esac
            found+=", $name is ${answer%% *}"
        elif [ -n "$answer" ]; then found+=", $name is ${answer%% *} without venv"
        else found+=", $name does not run"; fi
    done
    if [ -n "$newest" ]; then base=$newest; return; fi
    found=${found#, }
    if [ -n "$uv" ] && [ -z "${PYTHON:-}" ]; then
        say "fetching Python 3.13 (found ${found:-none}) ..."
        if "$uv" python install --quiet 3.13 >&2 && base=$("$uv" python find 3.13); then return; fi
    fi
    fail "Expected ${PYTHON:+PYTHON=$PYTHON to be }Python 3.10 to 3.14 with venv; found ${found:-none}." \
        "Install one (Debian, Ubuntu: apt install python3-venv; macOS: brew install python@3.13)" \
        "or choose one: PYTHON=/path/to/python3.13 $0"
}

lock() {  # held by file descriptor 9; the kernel releases it when this shell and pip have ended, so it is never stale
    exec 9>>"$root/scripts/environment.sh"  # opened for appending, never written
    "$base" -I -c 'import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.stderr.write("waiting for another process that sets up .venv ...\n")
    fcntl.flock(9, fcntl.LOCK_EX)'
}

environment() {
    inspect "${1:-}"
    [ $state != ready ] || return 0
    choose_python
    lock
    inspect "${1:-}"  # another process may have done it meanwhile
    if [ -L "$venv" ]; then fail "$venv is a symbolic link, perhaps to the environment of another project; remove it and run $0 again."; fi
    if [ $state != ready ]; then set_up; fi
    exec 9>&-
}

set_up() {
    local log made_from
    log=$(mktemp)
    trap 'rm -f "$log"; exit 130' INT  # after Ctrl-C without the advice about pip
    rm -f "$venv/ready"
    if [ $state = stale ]; then say "updating .venv ..."; else
        say "setting up .venv with $base (once; $([ -n "$uv" ] && echo 'with uv' || echo 'about a minute')) ..."
        make_venv >"$log" 2>&1 || give_up "$log" "$base could not make $venv (see above)."
        python=${PYTHON:-$base}
    fi
    made_from=$(recipe "$python" "$extra")  # before pip reads it: a later edit must count as a change
    install ".${extra:+[$extra]}" >"$log" 2>&1 \
        || give_up "$log" "pip could not install into $venv (see above). Check the connection to the package index, then run $0 again."
    printf '%s\n' "$made_from" >"$venv/ready.part" && mv "$venv/ready.part" "$venv/ready"
    rm -f "$log"
    trap - INT
}

make_venv() {
    # With pip (--seed), for those who install more into it.
    if [ -n "$uv" ] && rm -rf "$venv" && "$uv" venv --quiet --no-project --seed --python "$base" "$venv"; then return; fi
    "$base" -I -m venv --clear "$venv"
}

install() (  # install PROJECT: by uv, or else by pip, which may know of another package index
    cd "$root"
    set -- --quiet --constraint scripts/constraints.txt --editable "$1"
    if [ -n "$uv" ] && "$uv" pip install --python .venv/bin/python "$@"; then exit; fi
    .venv/bin/python -m pip install --no-input --no-user "$@"
)

give_up() {  # give_up LOG MESSAGE
    tail -n 5 "$1" >&2
    rm -f "$1"
    fail "$2"
}
