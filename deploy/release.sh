#!/bin/sh
# Builds what is published of the newest commit, into a folder: a wheel for each place, by itself both, and a list of the
# parts of this environment (CycloneDX), which is the one that was tested. The same commit gives the same wheels, byte by
# byte, with the build tools of constraints.txt. `make release` runs it.
#   deploy/release.sh FOLDER [PLACE ...]
set -eu
out=${1:?"say where to: deploy/release.sh FOLDER [PLACE ...]"}
shift
[ $# -gt 0 ] || set -- . starter
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
# Times of files are the commit's, their rights ours.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
umask 022
# A copy of what is committed: nothing that lies about gets in.
clean=$(mktemp -d)
trap 'rm -rf "$clean"' EXIT INT TERM
git archive HEAD | tar -x -C "$clean"
for place in "$@"; do
	"$python" -P -m build --wheel --no-isolation --outdir "$out" "$clean/$place"
done
# To hold the list to CycloneDX's schema takes half a minute, and its program writes by that schema anyway.
"$python" -P -m cyclonedx_py environment --no-validate --output-reproducible \
	--pyproject "$clean/pyproject.toml" --output-file "$out/loradex.cdx.json" "$python"
(cd "$out" && sha256sum -- *.whl loradex.cdx.json >SHA256SUMS)
