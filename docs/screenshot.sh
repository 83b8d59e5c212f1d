#!/usr/bin/env bash
# Take docs/contact-sheet.png anew from a fresh demo. Needs Chromium (CHROMIUM names it).
set -euo pipefail
root="$(cd "$(dirname "$0")/.." && pwd)"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" # so that the page shows a short path
"${RAM_RAY:-$root/.venv/bin/ram-ray}" demo demo-out
"${CHROMIUM:-chromium}" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
  --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
  --user-data-dir="$work/chromium" --window-size=1280,960 \
  --screenshot="$root/docs/contact-sheet.png" "file://$work/demo-out/report.html"
