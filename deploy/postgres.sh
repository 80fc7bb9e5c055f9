#!/bin/sh
# Starts Postgres as its image does, after giving the owner the password of .env: the image itself sets it only when it
# makes the data, and a later one would lock everybody out. Nobody can connect while this runs.
set -eu
if [ -s "$PGDATA/PG_VERSION" ]; then
	case $POSTGRES_PASSWORD in
	*'
'*)
		echo "the password in .env has a line end in it: choose another" >&2
		exit 1
		;;
	esac
	quoted=$(printf %s "$POSTGRES_PASSWORD" | sed "s/'/''/g")
	printf "set log_statement = none; alter role %s password '%s'\n" "$POSTGRES_USER" "$quoted" |
		postgres --single -D "$PGDATA" -c exit_on_error=on -c log_min_error_statement=panic "$POSTGRES_DB" >/dev/null
fi
exec docker-entrypoint.sh postgres
