#!/bin/sh
# Makes the passwords of docker-compose.yml, once: sh deploy/secrets.sh [FOLDER]
# Each program gets a URL of its own with no more rights than it needs (docs/security.md).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-$here/secrets}
[ ! -e "$folder" ] || { echo "$folder is there already: remove it to make new passwords" >&2; exit 1; }
umask 077
mkdir -p "$folder"

password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

worker=$(password) producer=$(password) flower=$(password)
owner=$(password) sql_worker=$(password) sql_producer=$(password)

sed -e "s/WORKER_PASSWORD/$worker/; s/PRODUCER_PASSWORD/$producer/; s/FLOWER_PASSWORD/$flower/" \
    "$here/redis/users.acl" > "$folder/redis_users.acl"
for role in worker producer flower; do
    eval "secret=\$$role"
    printf 'redis://%s:%s@redis:6379/0' "$role" "$secret" > "$folder/${role}_broker_url"
done

printf '%s' "$owner" > "$folder/postgres_password"
printf 'postgresql://classyard:%s@postgres:5432/classyard' "$owner" > "$folder/owner_database_url"
for role in worker producer; do
    eval "secret=\$sql_$role"
    printf "ALTER ROLE classyard_%s PASSWORD '%s';\n" "$role" "$secret" >> "$folder/roles.sql"
    printf 'postgresql://classyard_%s:%s@postgres:5432/classyard' "$role" "$secret" \
        > "$folder/${role}_database_url"
done

password > "$folder/flower_password"
password > "$folder/web_password"
password > "$folder/grafana_password"
# Read by the containers' own users; the folder keeps everybody else of this host away.
chmod 444 "$folder"/*
echo "made $folder"
