#!/usr/bin/env bash
# The whole way by the command line alone, on a simulated shop with RetailRocket's proportions: about two minutes.
# bash scripts/demo.sh [FOLDER]
set -euo pipefail
out=${1:-demo}
mkdir -p "$out"

say() { printf '\n== %s\n' "$*" >&2; }

say "1. An event log: who viewed and carted what, and when"
seqward simulate --preset retailrocket --sessions 8000 --items 800 --seed 1 --out "$out/events.csv" --force

say "2. A data set: checked, filtered, split by session 80/10/10"
seqward prepare "$out/events.csv" --out "$out/data" --force \
    --event-col event_type --reward view=0.2 --reward addtocart=1 --goal addtocart

say "3. A recommender: SASRec-CCQL, Eq. 4, for a minute"
seqward train "$out/data" --method sasrec-ccql --out "$out/run" --force \
    --max-minutes 1 --set warmup_events=300000

say "4. An honest evaluation: the whole catalogue, beside two baselines without parameters"
seqward evaluate "$out/run"

say "5. Recommendations for ten sessions of the test split"
seqward recommend "$out/run" --examples 10 -k 3
