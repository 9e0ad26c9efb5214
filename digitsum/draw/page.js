// Strokes go to the server as points; it makes the strip, reads it, and says what it saw.
"use strict";

const $ = (id) => document.getElementById(id);
const GREY = "#8a94a3"; // on light and dark
const paper = $("paper"), pen = paper.getContext("2d");
const state = { strokes: [], shown: null, busy: false, stale: false };

function drawPaper() {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, paper.width, paper.height);
  if (state.shown) paint(paper, state.shown.strip);
  pen.strokeStyle = "#fff";
  pen.lineWidth = 16;
  pen.lineCap = pen.lineJoin = "round";
  for (const stroke of state.strokes) {
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke) pen.lineTo(...point);
    if (stroke.length === 1) pen.lineTo(stroke[0][0] + 0.1, stroke[0][1]);
    pen.stroke();
  }
}

// A strip's grey pixels over a whole canvas, which takes the strip's proportions.
function paint(canvas, strip) {
  const small = new OffscreenCanvas(strip.width, 40), context = small.getContext("2d");
  const image = context.createImageData(strip.width, 40), bytes = atob(strip.data);
  for (let i = 0; i < bytes.length; i++) {
    image.data.fill(bytes.charCodeAt(i), 4 * i, 4 * i + 3);
    image.data[4 * i + 3] = 255;
  }
  context.putImageData(image, 0, 0);
  const target = canvas.getContext("2d");
  target.imageSmoothingEnabled = false;
  target.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function drawColumns(answer) {
  const canvas = $("columns"), context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  canvas.hidden = !answer || !answer.probabilities;
  if (canvas.hidden) return;
  const columns = answer.probabilities;
  const wide = (canvas.width * 4) / answer.strip.width, high = canvas.height / 10;
  columns.forEach((column, t) => column.forEach((probability, digit) => {
    const y = canvas.height - (digit + 1) * high;
    context.fillStyle = `rgba(59, 130, 196, ${probability})`;
    context.fillRect(t * wide, y, wide, high - 1);
    if (probability >= 0.02) {
      context.fillStyle = GREY;
      context.font = `${high * 0.7}px sans-serif`;
      context.fillText(digit, (t + 1.2) * wide, y + high * 0.78);
    }
  }));
  context.strokeStyle = GREY;
  context.strokeRect(0.5, 0.5, canvas.width - 1, canvas.height - 1);
}

// A row for each entry that is probable: its name, a bar, its probability.
function drawBars(id, rows) {
  const table = $(id);
  table.replaceChildren(table.caption);
  for (const [entry, probability] of rows) {
    const row = table.insertRow(), name = document.createElement("th"), bar = document.createElement("i");
    name.textContent = entry;
    row.append(name);
    bar.style.width = `${100 * probability}%`;
    row.insertCell().append(bar);
    row.insertCell().textContent = `${(100 * Math.min(probability, 0.9999)).toFixed(2)}%`;
  }
}

function say(answer, more, doubt, bars) {
  $("answer").textContent = answer;
  $("more").textContent = more || "";
  $("doubt").textContent = doubt || "";
  $("bars").hidden = !bars || !bars.counts;
  if ($("bars").hidden) return;
  drawBars("counts", bars.counts);
  drawBars("sums", bars.sums);
}

function show(answer) {
  let said = `${answer.sum}`;
  if (answer.digits) said = `${answer.digits.join(" + ") || "no digit"} = ${answer.sum}`;
  const more = [];
  if (answer.percent !== null) more.push(`confidence ${answer.percent}`);
  if (answer.percent === null) more.push(`value ${answer.value.toFixed(2)}`);
  if (state.shown) more.push(`true sum ${state.shown.sum} (${state.shown.digits.join(" + ")})`);
  more.push(`${answer.milliseconds} ms`);
  say(said, more.join(", "), answer.doubt, answer);
  const seen = $("seen");
  seen.height = Math.round((seen.width * 40) / answer.strip.width);
  const share = `${Math.min(100, (100 * answer.strip.width) / 168)}%`; // as large whatever its width
  seen.style.width = $("columns").style.width = share;
  paint(seen, answer.strip);
  drawColumns(answer);
}

function empty() {
  say("Nothing written yet.");
  $("seen").getContext("2d").clearRect(0, 0, $("seen").width, $("seen").height);
  drawColumns(null);
}

// One question at a time; what was written meanwhile is asked for next.
async function predict() {
  if (state.busy) { state.stale = true; return; }
  if (!state.strokes.length && !state.shown) { empty(); return; }
  state.busy = true;
  state.stale = false;
  const asked = { model: $("model").value, digits: Number($("count").value) || "any" };
  if (state.shown) asked.pixels = state.shown.strip;
  else asked.strokes = state.strokes;
  try {
    const response = await fetch("predict", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(asked),
    });
    const answer = await response.json();
    if (response.ok) show(answer);
    else say("No prediction.", answer.error);
  } catch {
    say("No prediction.", "The server does not answer: is digitsum draw still running?");
  }
  state.busy = false;
  if (state.stale) predict();
}

function place(event) {
  const box = paper.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top].map(
    (at, i) => Math.round(10 * (at * (i ? paper.height / box.height : paper.width / box.width))) / 10);
}

paper.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  event.preventDefault();
  paper.setPointerCapture(event.pointerId);
  if (state.shown) { state.shown = null; }
  state.strokes.push([place(event)]);
  state.pointer = event.pointerId;
  drawPaper();
  predict();
});
paper.addEventListener("pointermove", (event) => {
  if (state.pointer !== event.pointerId) return;
  const stroke = state.strokes[state.strokes.length - 1];
  for (const one of event.getCoalescedEvents?.() ?? [event]) {
    const [x, y] = place(one), [lastX, lastY] = stroke[stroke.length - 1];
    if (Math.hypot(x - lastX, y - lastY) >= 2) stroke.push([x, y]);
  }
  drawPaper();
  predict();
});
for (const kind of ["pointerup", "pointercancel"]) {
  paper.addEventListener(kind, (event) => {
    if (state.pointer !== event.pointerId) return;
    state.pointer = null;
    predict();
  });
}

function undo() {
  if (state.shown) state.shown = null;
  else state.strokes.pop();
  drawPaper();
  predict();
}
function clear() {
  state.strokes = [];
  state.shown = null;
  drawPaper();
  predict();
}
$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);
$("model").addEventListener("change", predict);
$("count").addEventListener("change", predict);
$("random").addEventListener("click", async () => {
  try {
    state.shown = await (await fetch("strip")).json();
  } catch {
    say("No prediction.", "The server does not answer: is digitsum draw still running?");
    return;
  }
  state.strokes = [];
  drawPaper();
  predict();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clear();
  if (event.key === "z" && (event.ctrlKey || event.metaKey)) undo();
});

for (let count = 1; count <= 12; count++) $("count").add(new Option(count, count));
fetch("models").then((response) => response.json()).then((names) => {
  for (const name of names) $("model").add(new Option(name, name));
  drawPaper();
  empty();
});
