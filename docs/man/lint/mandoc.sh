#!/bin/sh
# Every page must pass mandoc's lint. mandoc.sh PAGE...; exit 77 where mandoc is not installed.
command -v mandoc >/dev/null || exit 77
for page; do
    mandoc -Tlint -W warning "$page" || bad=1
done
exit ${bad:-0}
