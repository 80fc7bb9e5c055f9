#!/bin/sh
# Fails unless this version is that of both distributions and of the chart, and has its entries in the changelog.
#   deploy/same-version.sh VERSION
set -eu
version=${1:?"say which: deploy/same-version.sh VERSION"}
cd "$(dirname "$0")/.."
exact=$(printf '%s' "$version" | sed 's/[.+]/[&]/g')
has() {
	grep -qE "^$2\$" "$1" || {
		echo "$1 has another version than $version" >&2
		exit 1
	}
}
has pyproject.toml "version = \"$exact\""
has starter/pyproject.toml "version = \"$exact\""
has deploy/helm/Chart.yaml "version: $exact"
has deploy/helm/Chart.yaml "appVersion: \"$exact\""
has CHANGELOG.md "## [[]$exact[]] - [0-9]{4}-[0-9]{2}-[0-9]{2}"
