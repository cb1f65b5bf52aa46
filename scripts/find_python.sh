#!/bin/sh
# Print the name of a Python that can run the workshop, or say what is missing and fail.
# 3.10 to 3.12: below, dependencies are missing; above, numpy<2 is. The local tritonserver also loads libpythonX.Y.so,
# so a Python that has one is preferred; whether it is really needed is for the stack to say.
set -u

supported='import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))'
shared='import glob, sys, sysconfig
name = "libpython%d.%d.so*" % sys.version_info[:2]
folders = (sysconfig.get_config_var("LIBDIR"), "/usr/lib/" + (sysconfig.get_config_var("MULTIARCH") or ""))
sys.exit(not any(glob.glob(folder + "/" + name) for folder in folders if folder))'

fallback=
for candidate in "${PYTHON:-}" python3 python3.12 python3.11 python3.10; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c "$supported" >/dev/null 2>&1; then
        if "$candidate" -c "$shared" >/dev/null 2>&1; then
            echo "$candidate"
            exit 0
        fi
        fallback=${fallback:-$candidate}
    elif [ "$candidate" = "${PYTHON:-}" ]; then
        break
    fi
done
if [ -n "$fallback" ]; then
    echo "$fallback"
    exit 0
fi

{
    echo "No usable Python: the workshop needs Python 3.10, 3.11 or 3.12 with the venv and ensurepip modules."
    if version=$("${PYTHON:-python3}" --version 2>/dev/null); then
        echo "Found: ${PYTHON:-python3}, which is $version"
    else
        echo "Found: no command ${PYTHON:-python3}"
    fi
    echo "Try: install python3.12 and python3.12-venv (Debian, Ubuntu), or name one: make setup PYTHON=/path/to/python3.12"
} >&2
exit 1
