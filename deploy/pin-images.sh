#!/bin/sh
# Writes the digests of today's images behind their tags, in docker-compose.yml and the Dockerfiles: a tag can be moved by
# others, a digest cannot. Needs Docker with buildx, and the registry. Once more brings newer ones.
set -eu
cd "$(dirname "$0")/.."
files="docker-compose.yml Dockerfile deploy/vllm.Dockerfile"
for image in $(grep -hoE '(pgvector/pgvector|redis|python|prom/prometheus|grafana/grafana|vllm/vllm-openai):[A-Za-z0-9._-]+' $files | sort -u); do
	digest=$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')
	case $digest in
	sha256:*) ;;
	*)
		echo "no digest for $image: $digest" >&2
		exit 1
		;;
	esac
	sed -i -E "s|$image(@sha256:[0-9a-f]+)?|$image@$digest|" $files
	echo "$image@$digest"
done
