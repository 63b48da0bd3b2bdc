#!/usr/bin/env bash
# Every recipe of examples/recipes trains and gives the losses of one rank; every one can be planned.
source "$(dirname "$0")/common.sh" "$1"
root=$2
cd "$root"

run_recipe() { "$tessera" "$@" >"$work/out.log" 2>&1 || { cat "$work/out.log"; fail "tessera $*"; }; }

run_recipe train examples/recipes/one_rank.yaml output.metrics="$work/one.jsonl" threads=1 timeout=120
losses "$work/one.jsonl" >"$work/one.losses"
test "$(wc -l <"$work/one.losses")" -eq 8 || fail "eight steps give eight losses"
for recipe in examples/recipes/*.yaml; do
  run_recipe plan "$recipe"
  run_recipe train "$recipe" output.metrics="$work/recipe.jsonl" threads=1 timeout=120
  losses "$work/recipe.jsonl" >"$work/recipe.losses"
  (cd "$work" && same one.losses recipe.losses "$recipe gives the losses of one rank")
done
echo "ok"
