#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A metallm gateway with curl alone: an answer, its decision, feedback, a stream.
set -eu
url=${METALLM_URL:-http://127.0.0.1:8080}
headers=$(mktemp)
trap 'rm -f "$headers"' EXIT

ask() {
    curl -sS --fail-with-body -H "Authorization: Bearer ${METALLM_KEY:-unused}" \
        -H 'Content-Type: application/json' "$@"
}

ask "$url/v1/chat/completions" -D "$headers" -d '{
  "model": "auto", "messages": [{"role": "user", "content": "What is 17 * 23?"}]}'
echo
decision=$(tr -d '\r' <"$headers" | sed -n 's/^x-metallm-decision: //Ip')

echo "why this LLM:"
ask "$url/v1/decisions/$decision"
echo

# Feedback teaches the router: a score from 0 to 1, now or days later.
ask "$url/v1/feedback" -d "{\"decision\": \"$decision\", \"score\": 1}"
echo

# Constraints of one request, as headers; -N shows a stream as it comes.
ask -N "$url/v1/chat/completions" -H 'x-metallm-target: 0.9' -d '{
  "model": "auto", "stream": true, "messages": [{"role": "user", "content": "What is 17 * 23?"}]}'
