#!/bin/sh
# Prints the next build number of a counter, alone on one line.
#
#   next-build-number.sh SERVER UUID [KEY]
#
# SERVER  address of the service, with or without a path and a trailing slash: https://example.com/buildnumber
# UUID    the counter
# KEY     names this build, 1 to 255 printable ASCII characters: the same key is answered with the same number. Only
#         with a key is it safe to ask again, so only then does the script do so, up to five times in half a minute.
#
# Credentials for a proxy in front of the service are read from ~/.netrc. Exit code: 0 with a number on standard
# output; else 1 (64 for a wrong command line), a message on standard error, and nothing on standard output.
set -eu

fail() {
  echo "next-build-number: $1" >&2
  exit "${2:-1}"
}

[ $# -eq 2 ] || [ $# -eq 3 ] || fail 'expected SERVER UUID [KEY]' 64
server=$1 uuid=$2 key=${3-}
case $server:$uuid in :* | *:) fail 'expected a SERVER and a UUID, got an empty one' 64 ;; esac
while [ "${server%/}" != "$server" ]; do server=${server%/}; done

attempts=1
if [ $# -eq 3 ]; then
  [ -n "$key" ] || fail 'expected a KEY, got an empty one' 64
  [ ${#key} -le 255 ] || fail 'expected a KEY of at most 255 characters' 64
  printf %s "$key" | LC_ALL=C grep -q '[^ -~]' && fail 'expected a KEY of printable ASCII characters' 64
  # grep reads lines, and so cannot see a line feed.
  [ "$(printf %s "$key" | wc -l)" -eq 0 ] || fail 'expected a KEY of one line' 64
  attempts=5
  set -- --header "Idempotency-Key: \"$(printf %s "$key" | sed 's/[\\"]/\\&/g')\""
else
  set --
fi

attempt=1
while :; do
  # No --location: a redirected POST may arrive as a GET, which answers the last number instead of the next one.
  code=0
  answer=$(curl --silent --show-error --globoff --netrc-optional --connect-timeout 10 --max-time 30 \
    --request POST --header 'Accept: text/plain' "$@" --write-out '\n%{http_code}' \
    --url "$server/$uuid" 2>&1) || code=$?
  status=$(printf '%s\n' "$answer" | tail -n 1)
  body=$(printf '%s\n' "$answer" | sed '$d')
  case $code:$status in
    0:200)
      case $body in
        '' | 0* | *[!0-9]* | ?????????????????*) fail "expected a number from $server/$uuid, got: $body" ;;
      esac
      echo "$body"
      exit 0
      ;;
    0:408 | 0:429 | 0:5??) ;;
    0:*) fail "expected status 200 from $server/$uuid, got $status: $body" ;;
  esac
  [ $attempt -lt $attempts ] || fail "no answer from $server/$uuid after $attempts attempt(s): $answer"
  sleep $attempt
  attempt=$((attempt + 1))
done
