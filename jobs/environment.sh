# Sourced by the scripts beside it: find a Python, make the virtual environment once, install the package into it.
# Honours PYTHON (interpreter to use) and HPC_MLSM_VENV (folder of the environment; .venv in the repository by default).

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${HPC_MLSM_VENV:-$repository/.venv}

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 &&
            "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "hpc_mlsm needs Python 3.11, 3.12 or 3.13; none was found. Install one, or name it: PYTHON=/path/to/python3 $0" >&2
    return 1
}

# make_environment [EXTRAS]: install the package, with extras such as "test", unless that was done for this setup.cfg.
make_environment() {
    local extras=${1:-} python stamp wanted
    stamp=$venv/.installed-${extras:-base}
    wanted=$(cksum <"$repository/setup.cfg")
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x "$venv/bin/python" ]; then
        return
    fi
    python=$(find_python) || return 1
    echo "installing into $venv with $("$python" --version) (once; some minutes and about 2 GB)"
    if [ ! -x "$venv/bin/python" ]; then
        "$python" -m venv "$venv" || {
            rm -rf "$venv"
            echo "the virtual environment could not be made; on Debian or Ubuntu: apt-get install python3-venv" >&2
            return 1
        }
    fi
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable "$repository${extras:+[$extras]}" || {
        echo "the installation failed; the messages above say why" >&2
        return 1
    }
    echo "$wanted" >"$stamp"
}
