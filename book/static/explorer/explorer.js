/**
 * The explorer. ONNX Runtime Web runs trained models here, in the page, on a clip that the reader disturbs. It is loaded
 * when the reader asks for it; until then, and without JavaScript, a picture stands in its place.
 */

const HERE = new URL(".", import.meta.url);
const RUNTIME = new URL("../vendor/onnxruntime/", HERE);
const STREAMS = ["language", "vision", "audio"];
const MODELS = ["full", "language_vision", "ours", "any"];
const RANGE = [-3, 3]; // of scores
const NAMES = { language: "words", vision: "face", audio: "voice" };
const FIRST_MAP = "ours/audio_to_language";

const root = document.getElementById("explorer-widget");
const form = root.querySelector("form");
const [start, still, status, svg] = ["button", ".still", "[role=status]", "svg"].map((what) => root.querySelector(what));

let ort; // the runtime
let data; // clips.json: mean, scale and noise of each stream, half-widths of the intervals, and the clips
const sessions = {};

/** A file of the site; an error that names it when it does not come. */
async function fetched(name, folder = HERE) {
  const response = await fetch(new URL(name, folder));
  if (!response.ok) throw new Error(`${name}: ${response.status} ${response.statusText}`);
  return response;
}

async function load() {
  const zipped = await fetched("ort-wasm-simd-threaded.wasm.gz", RUNTIME);
  ort = await import(new URL("ort.wasm.bundle.min.mjs", RUNTIME));
  ort.env.wasm.numThreads = 1; // more would need headers that not every server sends
  ort.env.wasm.wasmBinary = await new Response(zipped.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  data = await (await fetched("clips.json")).json();
  for (const name of [...MODELS, "consistency"]) {
    sessions[name] = await ort.InferenceSession.create(await (await fetched(`${name}.onnx`)).arrayBuffer());
  }
}

const tensor = (steps) => new ort.Tensor("float32", Float32Array.from(steps.flat()), [1, steps.length, steps[0].length]);

/**
 * The streams of a clip under the reader's setting. A dropped one is the training mean at as many steps as there are
 * words; noise comes from a table, so that the same setting gives the same numbers.
 */
function disturbed(clip, { dropped, noise }) {
  const entries = STREAMS.map((name) => {
    const [mean, scale, table] = [data.mean[name], data.scale[name], data.noise[name]];
    const strength = noise[name] ?? 0;
    const steps = dropped.includes(name)
      ? clip.language.map(() => mean)
      : clip[name].map((step, t) => step.map((value, i) => value + strength * table[t][i] * scale[i]));
    return [name, tensor(steps)];
  });
  return Object.fromEntries(entries);
}

/** What `any` takes, as every file of `ktnet-lite export`: for a dropped stream, one step with a false mask. */
function masked(streams, dropped) {
  const entries = STREAMS.flatMap((name) => {
    const there = !dropped.includes(name);
    const values = there ? streams[name] : tensor([data.mean[name]]);
    const steps = values.dims[1];
    return [
      [name, values],
      [`${name}_mask`, new ort.Tensor("bool", new Uint8Array(steps).fill(there), [1, steps])],
    ];
  });
  return Object.fromEntries(entries);
}

/** Outputs of one file by name, from the inputs that it asks for among the given tensors; and how long it took. */
async function run(name, given) {
  const asked = Object.fromEntries(sessions[name].inputNames.map((input) => [input, given[input]]));
  const began = performance.now();
  const outputs = await sessions[name].run(asked);
  return { ...outputs, milliseconds: performance.now() - began };
}

/** What the page shows: the outputs of all files. Eq. (1) is about the voice, whether or not `full` hears it. */
async function explore(clip, setting) {
  const { dropped } = setting;
  const streams = disturbed(clip, setting);
  const found = {};
  for (const name of MODELS) found[name] = await run(name, name === "any" ? masked(streams, dropped) : streams);
  const { audio } = disturbed(clip, { ...setting, dropped: [] });
  found.consistency = await run("consistency", { ...found.ours, audio });
  return found;
}

/** What the controls say. */
function chosen() {
  const controls = form.elements;
  const noise = Object.fromEntries(STREAMS.map((name) => [name, Number(controls[`${name}-noise`].value)]));
  return { clip: data.clips[controls.clip.value], dropped: STREAMS.filter((name) => !controls[name].checked), noise };
}

const rounded = (value) => value.toFixed(2).replace("-", "−");
const percent = (value, from, to) => `${(100 * Math.min(1, Math.max(0, (value - from) / (to - from)))).toFixed(1)}%`;

function place(row, selector, value, from, to) {
  row.querySelector(selector).style.setProperty("--at", percent(value, from, to));
}

function fill(row, value, text = rounded(value)) {
  const number = row.querySelector("data");
  number.value = value;
  number.textContent = text;
}

/**
 * The interval around a score, from low to high. Its width depends on which of the streams that the model reads are
 * there. On a subset that was not validated the interval is the whole scale.
 */
function interval(name, score, dropped) {
  const subset = STREAMS.filter((stream) => sessions[name].inputNames.includes(stream) && !dropped.includes(stream));
  const half = data.half_widths[name][subset.join("_")] ?? RANGE[1] - RANGE[0];
  return [score - half, score + half].map((end) => Math.min(RANGE[1], Math.max(RANGE[0], end)));
}

function showScores(found, { clip, dropped }) {
  for (const name of MODELS) {
    const row = root.querySelector(`[data-model=${name}]`);
    const score = found[name].score.data[0];
    const [low, high] = interval(name, score, dropped);
    const band = row.querySelector(".band");
    band.style.setProperty("--low", percent(low, -3.5, 3.5));
    band.style.setProperty("--high", percent(high, -3.5, 3.5));
    place(row, ".mark", clip.score, -3.5, 3.5);
    place(row, ".dot", score, -3.5, 3.5);
    fill(row, score);
    row.querySelector(".ends").textContent = `${rounded(low)} to ${rounded(high)}`;
    const time = Math.round(found[name].milliseconds);
    row.querySelector(".time").textContent = time < 1 ? "< 1 ms" : `${time} ms`;
  }
  fill(root.querySelector(".truth"), clip.score);
}

function showErrors(found) {
  for (const source of ["language", "vision"]) {
    const row = root.querySelector(`[data-source=${source}]`);
    const [error, mean] = ["error", "mean_error"].map((kind) => found.consistency[`${source}_${kind}`].data[0]);
    place(row, ".bar", error, 0, 1.5);
    place(row, ".mark", mean, 0, 1.5);
    fill(row, error, `${rounded(error)}, R²\u00a0${rounded(1 - error / mean)}`);
    row.querySelector(".mark").title = `always the mean: ${rounded(mean)}`;
  }
}

/** Names of a stream's steps: words as they are spoken, frames by number, A′ by what its steps were rebuilt from. */
function steps(stream, model, clip, dropped) {
  if (stream === "audio" && model === "ours") {
    const [language, vision] = ["language", "vision"].map((name) => steps(name, model, clip, dropped));
    return [...language.map((name) => `ϕ ${name}`), ...vision.map((name) => `θ ${name}`)];
  }
  if (dropped.includes(stream)) return clip.words.map((_, t) => `(${t + 1})`);
  return stream === "language" ? clip.words : clip[stream].map((_, t) => `${t + 1}`);
}

const called = (stream, model) => (stream === "audio" && model === "ours" ? "A′" : NAMES[stream]);

function element(name, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** The chosen map: a row for each step of the target, a column for each of the source; the caption says it in words. */
function showMap(found, { clip, dropped }) {
  const [model, pair] = form.elements.map.value.split("/");
  const [source, target] = pair.split("_to_");
  const [rows, columns] = [target, source].map((stream) => steps(stream, model, clip, dropped));
  const weights = found[model][pair].data;
  const most = Math.max(...weights);
  const [cell, left, bottom] = [20, 78, 78];
  const [width, height] = [left + cell * columns.length, cell * rows.length + bottom];
  const strongest = rows.map((_, i) => {
    const row = weights.subarray(i * columns.length, (i + 1) * columns.length);
    return row.indexOf(Math.max(...row));
  });
  const parts = [];
  weights.forEach((weight, index) => {
    const [i, j] = [Math.floor(index / columns.length), index % columns.length];
    const title = element("title", {}, `${rows[i]} looks at ${columns[j]}: ${rounded(weight)}`);
    const box = { x: left + cell * j, y: cell * i, width: cell, height: cell, "fill-opacity": weight / most };
    parts.push(element("rect", box, title));
  });
  rows.forEach((name, i) => {
    parts.push(element("text", { x: left - 5, y: cell * i + 14, "text-anchor": "end" }, name));
  });
  columns.forEach((name, j) => {
    const [x, y] = [left + cell * j + 14, height - bottom + 6];
    parts.push(element("text", { x, y, "text-anchor": "end", transform: `rotate(-90 ${x} ${y})` }, name));
  });
  svg.replaceChildren(...parts);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("width", width);
  svg.setAttribute("height", height);
  const texts = rows.map((name, i) => `${name}: ${columns[strongest[i]]}`);
  svg.setAttribute("aria-label", `Where each step looks most. ${texts.join("; ")}.`);
  const peak = weights.indexOf(most);
  const [from, to] = [rows[Math.floor(peak / columns.length)], columns[peak % columns.length]];
  const axes = `Rows: ${called(target, model)}. Columns: ${called(source, model)}.`;
  const even = rounded(1 / columns.length);
  root.querySelector(".looks").textContent = `${axes} Even would be ${even}; the most, “${from}” at “${to}”, is`;
  fill(root.querySelector(".peak"), most);
}

/** One sentence for those who hear the page. */
function say(found, { clip, dropped }) {
  const scores = MODELS.map((name) => {
    const score = found[name].score.data[0];
    const [low, high] = interval(name, score, dropped).map(rounded);
    return `${name} ${rounded(score)}, between ${low} and ${high}`;
  }).join("; ");
  const errors = ["language", "vision"].map((name) => {
    return `from the ${NAMES[name]} ${rounded(found.consistency[`${name}_error`].data[0])}`;
  });
  status.textContent = `Scores: ${scores}; true score ${rounded(clip.score)}. Error of the rebuilt voice: ${errors.join(", ")}.`;
}

let wanted = false;
let running = false;

/** Run and show; a change that comes meanwhile is taken up at the end, so that the last one wins. */
async function update() {
  wanted = true;
  if (running) return;
  running = true;
  form.setAttribute("aria-busy", "true");
  while (wanted) {
    wanted = false;
    const setting = chosen();
    for (const name of STREAMS) root.querySelector(`[data-shown=${name}]`).textContent = rounded(setting.noise[name]);
    const found = await explore(setting.clip, setting);
    showScores(found, setting);
    showErrors(found);
    showMap(found, setting);
    say(found, setting);
  }
  form.setAttribute("aria-busy", "false");
  running = false;
}

function offer() {
  data.clips.forEach((clip, i) => form.elements.clip.add(new Option(`${rounded(clip.score)}: ${clip.words.join(" ")}`, i)));
  for (const model of ["ours", "full", "language_vision"]) {
    const group = document.createElement("optgroup");
    group.label = model;
    for (const pair of sessions[model].outputNames.filter((name) => name.includes("_to_"))) {
      const [source, target] = pair.split("_to_").map((stream) => called(stream, model));
      const [value, text] = [`${model}/${pair}`, `${model}: ${source} → ${target}`];
      group.append(new Option(text, value, value === FIRST_MAP, value === FIRST_MAP));
    }
    form.elements.map.append(group);
  }
}

start.addEventListener("click", async () => {
  start.disabled = true;
  status.textContent = "Loading the models …";
  status.classList.remove("spoken");
  try {
    await load();
    offer();
    await update(); // the first run is slow, because the browser is still compiling
    await update();
  } catch (error) {
    status.textContent = `The models could not be loaded (${error.message}). The picture stays.`;
    start.disabled = false;
    return;
  }
  status.classList.add("spoken");
  still.hidden = true;
  start.hidden = true;
  form.hidden = false;
  form.elements.clip.focus();
  form.addEventListener("input", update);
  form.addEventListener("reset", () => {
    form.setAttribute("aria-busy", "true");
    setTimeout(update); // when the controls have their values
  });
});
form.addEventListener("submit", (event) => event.preventDefault());
root.querySelector(".alone").hidden = true;
start.hidden = false;
