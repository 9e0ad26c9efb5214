#!/bin/sh
# The main job in a few minutes: strips, two models, their metrics, their predictions, side by side.
# Usage: examples/demo.sh [FOLDER]    (default: demo)
set -eu
folder=${1:-demo}

say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "digitsum learns to add up handwritten digits that nobody labelled: only sums are given."
echo "This is a taste, not a result: few strips, few epochs. docs/results.md has the real figures."

if [ -e "$folder" ] && [ ! -e "$folder/.demo" ]; then
    echo "error: $folder exists and is not a demo's: give another folder" >&2
    exit 2
fi
rm -rf "$folder" && mkdir "$folder" && cd "$folder" && touch .demo

say "1. Strips: 2,500 images of four handwritten digits each (scikit-learn's), with their sums"
run digitsum synth strips --strips 2500

say "2. The attention CNN of the technical report, 7 epochs instead of 50, on 2,000 strips"
run digitsum train --arch cnn --epochs 7 --data strips

say "3. ResNet-50 from scratch, 1 epoch on 320 strips: enough to see it run, not to see it learn"
run digitsum train --arch resnet --weights none --epochs 1 --limit 320 --data strips

say "4. The CNN's metrics, on training strips and on validation strips"
run digitsum eval cnn.pt

say "5. Its predictions for new strips of the same hands: value is its estimate, sum the nearest whole number"
run digitsum synth new --strips 5 --files 1 --seed 1
run digitsum predict new/data0.npy --model cnn.pt
echo "the true sums: $(python -c 'import numpy; print(*numpy.load("new/lab0.npy"))')"

say "6. The bundled weights on the same new strips: sums, confidences and digits"
run digitsum predict new/data0.npy

say "7. All three on the 500 validation strips, and whether they differ"
run digitsum compare cnn.pt resnet.pt reader --data strips
echo "(The bundled weights have learnt from three quarters of these digits, in other strips: no fair race.)"

say "Done. All of it lies in $folder/. Next: digitsum train --arch cnn --data mnist"
