#!/bin/bash
# Does ccxt, as it is installed here, still make what the golden file says?
#
#   ccxt.sh SOURCE-FOLDER [FOLDER]     FOLDER, or $WEIR_CCXT, or the current one, holds node_modules/ccxt (npm install --ignore-scripts ccxt)
#
# Exit: 0 the same, 1 another, 77 no node or no ccxt here
set -euo pipefail
source=$1
folder=${2:-${WEIR_CCXT:-.}}
if ! command -v node >/dev/null || [ ! -d "$folder/node_modules/ccxt" ]; then
    echo "skipped: no node, or no $folder/node_modules/ccxt: npm install --ignore-scripts ccxt, and name the folder in WEIR_CCXT"
    exit 77
fi
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
node "$source/ccxt.mjs" "$folder" >"$fresh"
# Versions may differ; the calls may not.
diff <(grep -v '"ccxt":' "$source/ccxt_golden.json") <(grep -v '"ccxt":' "$fresh")
echo "the same: $(grep -c '"scheme":' "$fresh") calls, $(grep '"ccxt":' "$fresh")"
