#!/bin/sh
# Writes the commits of the versions that stand behind the workflows' actions: a tag can be moved by others, a commit
# cannot. A newer version is taken by writing it into the comment. Needs github.com. `make pin` runs it.
set -eu
cd "$(dirname "$0")/.."
grep -hoE 'uses: [A-Za-z0-9._-]+/[A-Za-z0-9._-]+@[0-9a-z./]+ # v[0-9.]+$' .github/workflows/*.yml | sort -u |
	while read -r _ used _ version; do
		action=${used%@*}
		# The last line is the commit, also of a tag that is an object of its own.
		commit=$(git ls-remote "https://github.com/$action" "refs/tags/$version" "refs/tags/$version^{}" |
			sed -n '$s/^\([0-9a-f]*\).*/\1/p')
		if [ ${#commit} -ne 40 ]; then
			echo "no commit for $action $version: $commit" >&2
			exit 1
		fi
		[ "$action@$commit" = "$used" ] || echo "$action $version was pinned to ${used#*@}"
		for file in .github/workflows/*.yml; do
			sed -E "s|uses: $action@[0-9a-z./]+ # $version\$|uses: $action@$commit # $version|" "$file" >"$file.pinned"
			cat "$file.pinned" >"$file"
			rm "$file.pinned"
		done
		echo "$action@$commit"
	done
