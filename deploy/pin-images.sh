#!/bin/sh
# Writes the digests of today's images behind their tags, in docker-compose.yml and the Dockerfiles: a tag can be moved by
# others, a digest cannot. Needs Docker with buildx, and the registry. Once more brings newer ones.
set -eu
cd "$(dirname "$0")/.."
# Where an image is named; the same words stand in addresses too.
named='^( *image: |FROM )'
image='(pgvector/pgvector|redis|python|prom/prometheus|grafana/grafana|vllm/vllm-openai):[A-Za-z0-9._-]+'
files="docker-compose.yml Dockerfile deploy/vllm.Dockerfile"
for one in $(grep -hoE "$named$image" $files | sed -E "s/$named//" | sort -u); do
	digest=$(docker buildx imagetools inspect "$one" --format '{{.Manifest.Digest}}')
	case $digest in
	sha256:*) ;;
	*)
		echo "no digest for $one: $digest" >&2
		exit 1
		;;
	esac
	for file in $files; do
		sed -E "s#$named$one(@sha256:[0-9a-f]+)?#\\1$one@$digest#" "$file" >"$file.pinned"
		cat "$file.pinned" >"$file"
		rm "$file.pinned"
	done
	echo "$one@$digest"
done
