#!/usr/bin/env bash
# The main workflow on a small scale: synthetic radiographs, the grid, comparison, promotion, Grad-CAM, report.
# If it is killed, run it again: it resumes where it stopped.
#   demo.sh BONEEXP FOLDER
set -euo pipefail
boneexp=$(realpath "$1") grid=$(dirname "$(realpath "$0")")/examples/demo.toml
mkdir -p "$2"
cd "$2"
step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

step "1/7 synthetic radiographs in BTXRD's layout"
[ -f ledger.db ] || "$boneexp" data phantom --images 240 --out data --yes
[ -f experiments.toml ] || cp "$grid" experiments.toml

step "2/7 boneexp queue --grid experiments.toml"
"$boneexp" queue --grid experiments.toml

step "3/7 boneexp run --all"
if "$boneexp" status --csv | grep -qE ',(queued|running|failed),'; then
  "$boneexp" run --all
else
  echo "all runs are already done"
fi

step "4/7 boneexp compare"
"$boneexp" status
"$boneexp" compare

step "5/7 boneexp promote --best"
reason="demo on synthetic images; no evidence for anything"
"$boneexp" promote --best --yes --reason "$reason" || [ $? -eq 4 ]  # 4: it is already the default

step "6/7 boneexp gradcam"
"$boneexp" gradcam --count 3

step "7/7 boneexp report"
"$boneexp" report

folder=$(pwd)
cat <<END

Done. These are synthetic images: the numbers say nothing about bone tumours.
Research use only, not for clinical use. Open:
  $folder/artifacts/report.html                          the study on one page, in a browser
  $folder/artifacts/comparison.csv                       the comparison
  $folder/docs/poc_report.md                             the report
  $folder/docs/model_card.md                             the model card
  $folder/artifacts/experiments/E1/stratified/           one run: figures, tables, log, checkpoints
  $(ls "$folder"/artifacts/experiments/*/stratified/gradcam/gallery-Malignant-*.png | tail -n 1)
  sqlite3 $folder/ledger.db 'SELECT * FROM leaderboard'  the same numbers in SQL
END
