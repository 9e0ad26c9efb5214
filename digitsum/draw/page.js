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
  if (lesson.strips) return; // what is written for a lesson is not read meanwhile
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

// A lesson: ten numbers to write. The server gets their strokes and sums; the digits stay here.
const NUMBERS = 10, DIGITS = 4, FEWEST = 5;
const lesson = { numbers: [], strips: null, at: 0, running: false };

// Each digit four times over the ten numbers, in a new order each time.
function tenNumbers() {
  const digits = Array.from({ length: NUMBERS * DIGITS }, (_, i) => i % 10);
  for (let i = digits.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [digits[i], digits[j]] = [digits[j], digits[i]];
  }
  return Array.from({ length: NUMBERS }, (_, i) => digits.slice(DIGITS * i, DIGITS * (i + 1)));
}

async function post(where, body) {
  const response = await fetch(where, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// What went wrong, in one line; fetch itself fails with a TypeError.
function reason(error) {
  return error instanceof TypeError ? "The server does not answer: is digitsum draw still running?" : error.message;
}

function showLesson(wrong) {
  const writing = lesson.strips !== null, open = writing || lesson.running;
  $("asked").hidden = !open;
  $("wrong").textContent = wrong || "";
  for (const id of ["next", "back", "skip"]) $(id).hidden = lesson.running;
  $("share").hidden = !lesson.running;
  for (const id of ["teach", "random", "model", "count", "forget"]) $(id).disabled = open;
  if (lesson.running) $("number").textContent = "Learning from what you wrote …";
  else if (writing) {
    const number = document.createElement("b");
    number.textContent = lesson.numbers[lesson.at].join("");
    $("number").replaceChildren(`${lesson.at + 1} of ${NUMBERS}: write `, number);
    $("back").disabled = lesson.at === 0;
    $("next").textContent = lesson.at === NUMBERS - 1 ? "Learn" : "Next";
  }
}

function turnTo(at) {
  lesson.strips[lesson.at] = state.strokes;
  lesson.at = at;
  state.strokes = lesson.strips[at];
  drawPaper();
  showLesson();
}

function endWriting() {
  lesson.strips = null;
  state.strokes = [];
  drawPaper();
  empty();
}

async function learn() {
  lesson.strips[lesson.at] = state.strokes;
  const strips = lesson.strips.map((strokes, i) => (
    { strokes, sum: lesson.numbers[i].reduce((a, b) => a + b) })).filter((strip) => strip.strokes.length);
  if (strips.length < FEWEST) { showLesson(`Write at least ${FEWEST} of the ${NUMBERS}.`); return; }
  try {
    follow(await post("teach", { model: $("model").value, strips }));
    endWriting();
    showLesson();
  } catch (error) {
    showLesson(reason(error));
  }
}

// Shows how the lesson goes, and asks again until it is over.
function follow(now) {
  lesson.running = now.running;
  $("share").value = now.share;
  const name = $("model").value, taught = now.taught.includes(name);
  $("teach").hidden = !now.teachable.includes(name);
  $("forget").hidden = $("mine").hidden = !taught;
  $("mine").href = `mine.pt?model=${encodeURIComponent(name)}`;
  $("learnt").textContent = now.running ? "" : outcome(now, name, taught);
  showLesson($("wrong").textContent);
  if (now.running) setTimeout(ask, 300);
}

function outcome(now, name, taught) {
  if (now.model === name && now.error) return `Nothing was learnt: ${now.error}`;
  if (now.model === name && now.stopped) return "Cancelled: nothing was learnt.";
  const { strips, before, after, kept } = (now.model === name && now.lesson) || {};
  if (kept) {
    return `Of these ${strips} numbers it read ${before} right before, and ${after} now. It learnt from these very ones: ` +
      "of others it gains less. To read files with it, save mine.pt: digitsum predict FILE --model mine.pt";
  }
  if (strips && before === strips) return `It read all ${strips} right already: nothing was changed.`;
  if (strips) return `It read ${before} of ${strips} right. What it learnt made it no better by our check: nothing was changed.`;
  return taught ? "It has learnt your hand." : "";
}

async function ask() {
  try {
    const response = await fetch("lesson");
    follow(await response.json());
  } catch (error) {
    lesson.running = false;
    showLesson();
    $("learnt").textContent = reason(error);
  }
}

$("teach").addEventListener("click", () => {
  Object.assign(lesson, { numbers: tenNumbers(), strips: Array.from({ length: NUMBERS }, () => []), at: 0 });
  Object.assign(state, { strokes: lesson.strips[0], shown: null });
  $("learnt").textContent = "";
  drawPaper();
  empty();
  $("answer").textContent = "";
  showLesson();
  $("number").focus();
});
$("next").addEventListener("click", () => {
  if (lesson.at === NUMBERS - 1) learn();
  else if (!state.strokes.length) showLesson("Write the number first, or skip it.");
  else turnTo(lesson.at + 1);
});
$("back").addEventListener("click", () => turnTo(lesson.at - 1));
$("skip").addEventListener("click", () => {
  state.strokes = [];
  if (lesson.at === NUMBERS - 1) learn();
  else turnTo(lesson.at + 1);
});
$("cancel").addEventListener("click", async () => {
  if (lesson.strips) endWriting();
  else await post("stop", {}).catch(() => {});
  showLesson();
  $("teach").focus();
});
$("forget").addEventListener("click", async () => {
  try {
    follow(await post("forget", { model: $("model").value }));
    $("learnt").textContent = "Forgotten: it reads as it did before.";
    $("teach").focus();
    predict();
  } catch (error) {
    $("learnt").textContent = reason(error);
  }
});
$("model").addEventListener("change", ask);

for (let count = 1; count <= 12; count++) $("count").add(new Option(count, count));
fetch("models").then((response) => response.json()).then((names) => {
  for (const name of names) $("model").add(new Option(name, name));
  drawPaper();
  empty();
  ask();
});
