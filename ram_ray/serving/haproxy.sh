#!/bin/sh
# Ray Serve starts this as its HAProxy (RAY_SERVE_HAPROXY_BINARY_PATH): haproxy -db -f FILE ...
# Changes to the file that Ray writes, for which it has no setting:
# - HAProxy's metrics and statistics listen on loopback only;
# - an ingress has 512 requests at a time, others wait for 5 s at most: in a flood, refusing all
#   of them is too much for it;
# - health and readiness do not wait behind them: they go to the same processes by a way of their own;
# - one client (of IPv6: one /64) has 128 connections whose requests reach an ingress, those above are
#   answered with 429 here (a request whose body never comes holds its place, whatever the ingress
#   says), and 1,024 of the 4,096 connections; headers come within 10 s;
# - without an ingress that is up or time its answer is a 503 to be tried again, not a 500;
# - an ingress hears who asks: rates without keys are counted per client address.
set -eu
many='{"error":{"code":"rate_limited","message":"You have 128 connections open; others need the rest.","details":[]}}'
busy='{"error":{"code":"not_ready","message":"No ingress process is free.","details":[]}}'
sed -i \
    -e "s/bind :${RAY_SERVE_HAPROXY_METRICS_PORT:-9101}\$/bind 127.0.0.1:${RAY_SERVE_HAPROXY_METRICS_PORT:-9101}/" \
    -e "s/bind \*:${RAY_SERVE_HAPROXY_STATS_PORT:-8404}\$/bind 127.0.0.1:${RAY_SERVE_HAPROXY_STATS_PORT:-8404}/" \
    -e "s|^    errorfile 503 .*|    http-error status 503 content-type application/json string '$busy' hdr Retry-After 2|" \
    -e "s|^defaults\$|&\n    timeout queue 5s\n    timeout http-request 10s|" \
    "$3"
changed=$(mktemp)
awk -v many="$many" '
    { lines[++count] = $0 }
    /^backend / { backend = $2 }
    /^    server SERVE_REPLICA/ && backend !~ /-via-/ {
        if (!(backend in seen)) { seen[backend] = 1; backends++ }
        health = health "    server " $2 " " $3 " track " backend "/" $2 "\n"
    }
    END {
        own_way = backends == 1  # of several applications it is not known whose /healthz it is
        for (at = 1; at <= count; at++) {
            line = lines[at]
            if (line ~ /^    server SERVE_REPLICA/) line = line " maxconn 512"
            if (own_way && line ~ /^    use_backend / && !told++)
                print "    use_backend ram_ray_health if { path /healthz /readyz }"
            print line
            if (line == "frontend http_frontend") {
                print "    stick-table type ipv6 size 100k expire 60s store conn_cur"
                print "    tcp-request connection track-sc0 src,ipmask(32,64)"
                print "    tcp-request connection reject if { sc0_conn_cur gt 1024 }"
                print "    tcp-request connection set-var(sess.crowd) bool(true) if { sc0_conn_cur gt 128 }"
                print "    http-request return status 429 content-type application/json string \047" many "\047 hdr Retry-After 2 if { var(sess.crowd) -m bool } !{ path /healthz /readyz }"
                print "    http-request set-header X-Forwarded-For %[src]"
            }
        }
        if (own_way) printf "backend ram_ray_health\n%s", health
    }
' "$3" >"$changed"
cat "$changed" >"$3"
rm -f "$changed"
exec "$RAM_RAY_HAPROXY_BINARY" "$@"
