#!/bin/sh
# The main job in a few minutes: strips, two models, their figures, their readings, side by side.
# Usage: examples/demo.sh [FOLDER]    (default: demo)
set -eu
folder=${1:-demo}

say() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "digitsum learns to add up handwritten digits that nobody labelled: only sums are given."
echo "This is a taste, not a result: few strips, few epochs. The README has the real figures."

if [ -e "$folder" ] && [ ! -e "$folder/.demo" ]; then
    echo "error: $folder exists and is no demo's: give another folder" >&2
    exit 2
fi
rm -rf "$folder" && mkdir "$folder" && cd "$folder" && touch .demo

say "1. Strips: 6,000 images of four handwritten digits each (scikit-learn's), with their sums"
run digitsum synth strips --strips 6000

say "2. The attention CNN of the technical report, 10 epochs instead of 50, on 4,800 strips"
run digitsum train --arch cnn --epochs 10 --data strips

say "3. ResNet-50 from scratch, 1 epoch on 1,200 strips: enough to see it run, not to see it learn"
run digitsum train --arch resnet --weights none --epochs 1 --limit 1200 --data strips

say "4. The CNN's figures, on strips that it trained on and on strips that it was selected on"
run digitsum eval cnn.pt --data strips

say "5. What it reads in new strips of the same handwriting: value is its estimate, sum the nearest whole number"
run digitsum synth new --strips 5 --files 1 --seed 1
run digitsum predict new/data0.npy --model cnn.pt
echo "the true sums: $(python -c 'import numpy; print(*numpy.load("new/lab0.npy"))')"

say "6. The weights that ship with digitsum on the same new strips: sums, digits, and how sure"
run digitsum predict new/data0.npy

say "7. All three on the same 1,200 strips, which chose between epochs of the first two, and whether they differ"
run digitsum compare cnn.pt resnet.pt reader --data strips
echo "(reader has learnt from three quarters of these very digits, in other strips: no fair race)"

say "Done. All of it lies in $folder/. Next: digitsum train --arch cnn --data mnist"
