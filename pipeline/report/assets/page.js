"use strict";
// Draws the page from the JSON beside it. Text reaches the document by textContent alone.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  // Okabe and Ito's colours, told apart by the colour-blind; light ones that white would swallow come last.
  const COLOURS = {
    light: ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C7A00", "#777777"],
    dark: ["#56B4E9", "#E69F00", "#2BC79A", "#E3A3C8", "#3F8FD0", "#FF7F3A", "#F0E442", "#AAAAAA"],
  };
  const PAGE = 10;  // documents shown at once
  const ROWS = 500;  // rows of a table shown at once
  const drawn = [];  // how to draw every chart again, in another theme
  let readDocuments = null;

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (name === "text") node.textContent = value;
      else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== null));
    return node;
  }

  // What would be invisible, turn the text around or drive something shows as its code point.
  const SIGNS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;
  function put(node, text, wanted = "") {
    const found = wanted ? text.toLowerCase().split(wanted.toLowerCase()) : null;
    if (found && found.length > 1 && found.join("").length + (found.length - 1) * wanted.length === text.length) {
      let at = 0;
      found.forEach((piece, i) => {
        signed(node, text.slice(at, at + piece.length));
        at += piece.length;
        if (i < found.length - 1) {
          node.append(make("mark", { text: text.slice(at, at + wanted.length) }));
          at += wanted.length;
        }
      });
    } else signed(node, text);
    return node;
  }
  function signed(node, text) {
    let at = 0;
    for (const match of text.matchAll(SIGNS)) {
      if (match.index > at) node.append(text.slice(at, match.index));
      const code = match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, "0");
      node.append(make("span", { class: "sign", text: `U+${code}` }));
      at = match.index + 1;
    }
    if (at < text.length) node.append(text.slice(at));
  }

  // The page's own words: what stands between backticks is code.
  function prose(node, text) {
    text.split("`").forEach((piece, i) => node.append(i % 2 ? make("code", { text: piece }) : piece));
    return node;
  }

  function shown(value) {
    if (value === null || value === undefined) return "";
    if (typeof value === "number") {
      if (Number.isInteger(value)) return Math.abs(value) < 1e15 ? value.toLocaleString("en-US") : value.toPrecision(5);
      const size = Math.abs(value);
      if (size >= 1e6 || size < 1e-4) return value.toExponential(3);
      return size >= 1000 ? value.toLocaleString("en-US", { maximumFractionDigits: 1 }) : String(Number(value.toPrecision(5)));
    }
    if (typeof value === "object") return JSON.stringify(value);
    return String(value);
  }

  const theme = () => document.documentElement.dataset.theme;
  function setTheme(name) {
    document.documentElement.dataset.theme = name;
    const button = document.getElementById("theme");
    button.textContent = name === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-pressed", String(name === "dark"));
    return Promise.all(drawn.map((draw) => draw()));
  }

  function config() {
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink").trim(), soft = style.getPropertyValue("--soft").trim();
    const line = style.getPropertyValue("--line").trim();
    const colours = COLOURS[theme()];
    return {
      background: null,
      font: 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif',
      view: { stroke: null },
      axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: line, tickColor: line, labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal" },
      legend: { labelColor: ink, titleColor: soft, labelLimit: 240, orient: "bottom", direction: "horizontal", columns: 4, symbolType: "square", titleFontWeight: "normal" },
      range: { category: colours },
      bar: { color: colours[0] }, rule: { color: soft }, line: { color: colours[0], strokeWidth: 2 },
      point: { color: colours[0], opacity: 0.75 }, tick: { color: ink },
      style: { median: { color: ink } },
    };
  }

  const tip = document.getElementById("tip");
  function tooltip(handler, event, item, value) {
    tip.replaceChildren();
    if (value === null || value === undefined || value === "") { tip.hidden = true; return; }
    const lines = typeof value === "object" ? Object.entries(value) : [["", value]];
    for (const [name, text] of lines) put(tip.appendChild(make("div")), `${name}${name ? ": " : ""}${text}`.slice(0, 400));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 8))}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 8))}px`;
  }

  // Vega keeps groups in plain objects, where names such as "constructor" are taken: there they get a space of no width.
  const SPACE = "\u200b";
  const guarded = (value) => (typeof value === "string" && value in {} ? value + SPACE : value);
  const bare = (datum) => Object.fromEntries(Object.entries(datum).map(([name, value]) =>
    [name, typeof value === "string" && value.endsWith(SPACE) ? value.slice(0, -1) : value]));

  async function draw(place, spec, rows, label, reads) {
    // Vega-Lite cannot fit a chart to its width alone while rows of it have a height each.
    const step = spec.height && spec.height.step;
    const height = step ? step * new Set(rows.map((row) => row[spec.encoding.y.field])).size : spec.height;
    const whole = {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      ...spec, width: place.clientWidth, height, autosize: { type: "fit-x", contains: "padding" },
      data: { values: rows }, description: label,
    };
    const embedded = await vegaEmbed(place, whole, {
      ast: true, actions: false, renderer: "svg", config: config(), tooltip,
    });
    if (reads) embedded.view.addEventListener("click", (event, item) => item && item.datum && readDocuments && readDocuments(bare(item.datum)));
    return embedded;
  }

  function table(figure, rows, reads) {
    const long = figure.columns.map((name, i) => !figure.numbers[i] && rows.some((row) => shown(row[i]).length > 60));
    const head = make("tr", {}, ...figure.columns.map((name, i) => make("th", { scope: "col", class: figure.numbers[i] ? "number" : null, text: name })));
    if (reads) head.append(make("th", { scope: "col", text: "" }));
    const body = make("tbody");
    for (const row of rows.slice(0, ROWS)) {
      const line = make("tr");
      row.forEach((value, i) => {
        const cell = make("td", { class: figure.numbers[i] ? "number" : value === null ? "none" : long[i] ? "long" : null });
        if (figure.numbers[i] && value !== null) { cell.title = String(value); cell.textContent = shown(value); }
        else put(long[i] ? cell.appendChild(make("div")) : cell, value === null ? "–" : shown(value));
        line.append(cell);
      });
      if (reads) {
        const facts = record(figure, row);
        line.append(make("td", {}, make("button", { type: "button", text: "read", "aria-label": "read documents of this row", onclick: () => readDocuments(facts) })));
      }
      body.append(line);
    }
    const whole = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": figure.title }, make("table", {}, make("thead", {}, head), body));
    return rows.length > ROWS ? make("div", {}, whole, make("p", { class: "note", text: `The first ${ROWS} of ${shown(rows.length)} rows; the query gives all.` })) : whole;
  }

  const record = (figure, row) => Object.fromEntries(figure.columns.map((name, i) => [name, row[i]]));

  function query(sql) {
    const told = make("button", { type: "button", text: "copy" });
    told.addEventListener("click", () => {
      const done = () => { told.textContent = "copied"; setTimeout(() => { told.textContent = "copy"; }, 1500); };
      if (navigator.clipboard) navigator.clipboard.writeText(sql).then(done, () => {});
    });
    return make("div", { class: "query" }, put(make("pre", { class: "sql", tabindex: "0" }), sql), told);
  }

  function behind(figure, rows, open) {
    const numbers = make("details", { class: "numbers", open }, make("summary", { text: "the numbers" }));
    const fill = () => { if (numbers.open && numbers.childElementCount < 2) numbers.append(table(figure, rows(), figure.reads)); };
    numbers.addEventListener("toggle", fill);
    const sql = make("details", {}, make("summary", { text: "the query" }), query(figure.sql));
    return { node: make("div", { class: "behind" }, numbers, sql), again() { while (numbers.childElementCount > 1) numbers.lastChild.remove(); fill(); } };
  }

  function tiles(figure) {
    const place = make("div", { class: "tiles" });
    figure.columns.forEach((name, i) => {
      const value = figure.rows[0][i];
      if (value === null) return;
      const bad = name.startsWith("failed") && value > 0;
      place.append(make("div", { class: bad ? "tile bad" : "tile" }, make("b", { text: shown(value), title: String(value), "data-name": name }), make("span", { text: name })));
    });
    return place;
  }

  // Texts in the colours of their tokens; a struck-through token is told from a kept one without its colour too.
  function tokens(figure) {
    const kinds = ["prompt", "kept", "dropped"];
    const at = Object.fromEntries(figure.columns.map((name, i) => [name, i]));
    const place = make("div");
    place.append(make("p", { class: "legend tokens" }, ...kinds.map((kind) => make("span", { class: kind, text: kind }))));
    figure.rows.forEach((row, i) => {
      const text = make("div", { class: "text tokens", tabindex: "0", dir: "auto" });
      for (const [piece, kind] of figure.pieces[i]) text.append(put(make("span", { class: kinds[kind] }), piece));
      const head = make("div", { class: "head" }, put(make("strong"), shown(row[at.id])), put(make("span", { class: "facts" }), `${row[at.corpus]}, ${row[at.selection]}, ${shown(row[at.kept])} of ${shown(row[at["response tokens"]])} response tokens kept`));
      place.append(make("article", { class: "card" }, head, text));
    });
    return place;
  }

  function select(label, values, onchange) {
    const list = make("select", { onchange: () => onchange(list.value) }, ...values.map((value) => make("option", { value, text: value === "" ? "all" : String(value).slice(0, 80) })));
    return { node: make("label", {}, label, list), list };
  }

  function chart(figure, siblings) {
    const place = make("div");
    const controls = place.appendChild(make("div", { class: "controls" }));
    const at = Object.fromEntries(figure.columns.map((name, i) => [name, i]));
    const chosen = {};
    for (const name of figure.choose) {
      const values = [...new Set(figure.rows.map((row) => row[at[name]]))];
      chosen[name] = values[0];
      const { node, list } = select(name, values, (value) => siblings.choose(name, value));
      siblings.lists.push([name, list, values, (value) => { chosen[name] = value; redraw(); }]);
      if (values.length > 1) controls.append(node);
    }
    const axes = { ...figure.axes };
    for (const axis of Object.keys(axes)) {
      const { node, list } = select(axis, figure.columns.filter((_, i) => figure.numbers[i]), (value) => { axes[axis] = value; redraw(); });
      list.value = axes[axis];
      controls.append(node);
    }
    if (!controls.childElementCount) controls.remove();
    const rows = () => figure.rows.filter((row) => figure.choose.every((name) => row[at[name]] === chosen[name]));
    const charts = place.appendChild(make("div", { class: "charts" }));
    const boxes = figure.charts.map(() => charts.appendChild(make("div", { class: figure.reads ? "chart reads" : "chart" })));
    const more = behind(figure, rows, false);
    place.append(more.node);
    const views = [];
    async function redraw() {
      more.again();
      const records = rows().map((row) => {
        const one = record(figure, row.map(guarded));
        for (const [axis, column] of Object.entries(axes)) one[axis] = one[column];
        return one;
      });
      await Promise.all(figure.charts.map(async (spec, i) => {
        if (views[i]) views[i].finalize();
        views[i] = await draw(boxes[i], titled(spec, axes), records, `${figure.title}. ${Object.values(chosen).join(", ")}`, figure.reads);
      }));
    }
    drawn.push(redraw);
    return place;
  }

  function titled(spec, axes) {
    if (!Object.keys(axes).length) return spec;
    const encoding = { ...spec.encoding };
    for (const [axis, column] of Object.entries(axes)) {
      encoding[axis] = { ...encoding[axis], title: column };
      encoding.tooltip = encoding.tooltip.map((one) => (one.field === axis ? { field: axis, title: column } : one));
    }
    return { ...spec, encoding };
  }

  // The pool of documents, filtered by what was clicked and typed.
  function documentsOf(figure) {
    const at = Object.fromEntries(figure.columns.map((name, i) => [name, i]));
    const scores = figure.columns.filter((_, i) => figure.numbers[i] && i !== at.characters);
    // What a card tells of a document: its length in tokens and the first scores that are no lengths.
    const told = [...scores.filter((name) => name === "tokens"), ...scores.filter((name) => !["chars", "bytes", "words", "tokens"].includes(name)).slice(0, 4)];
    const place = make("div");
    const status = make("p", { class: "count", role: "status", "aria-live": "polite" });
    const list = make("div");
    const sqlPlace = make("div");
    const more = make("button", { type: "button", text: "more documents" });
    const state = { text: "", corpus: "", source: "", selection: "", reason: "", score: "", low: null, high: null };
    let limit = PAGE;

    const search = make("input", { type: "search", placeholder: "words in the text or id", "aria-label": "words in the text or id", oninput: () => set({ text: search.value }) });
    const values = (name) => ["", ...[...new Set(figure.rows.map((row) => row[at[name]]))].filter((v) => v !== null).sort()];
    const reasons = new Map();
    for (const row of figure.rows) for (const one of row[at.selections] || []) reasons.set(`${one.selection}: ${one.reason}`, one);
    const corpus = select("corpus", values("corpus"), (value) => set({ corpus: value }));
    const source = select("source", values("source"), (value) => set({ source: value }));
    const fate = select("selection", ["", ...[...reasons.keys()].sort()], (value) => {
      const one = reasons.get(value) || { selection: "", reason: "" };
      set({ selection: one.selection, reason: one.reason });
    });
    const score = select("score", ["", ...scores], (value) => set({ score: value }));
    const number = (label, name) => {
      const box = make("input", { type: "number", step: "any", "aria-label": label, placeholder: label, onchange: () => set({ [name]: box.value === "" ? null : Number(box.value) }) });
      return box;
    };
    const low = number("from", "low"), high = number("below", "high");
    const clear = make("button", { type: "button", text: "clear", onclick: () => set({ text: "", corpus: "", source: "", selection: "", reason: "", score: "", low: null, high: null }) });
    const filters = make("div", { class: "filters controls" }, search);
    if (values("corpus").length > 2) filters.append(corpus.node);
    if (values("source").length > 2) filters.append(source.node);
    if (reasons.size) filters.append(fate.node);
    if (scores.length) filters.append(score.node, low, high);
    filters.append(clear);
    place.append(filters, status, sqlPlace, list, more, behind(figure, () => figure.rows, false).node);
    more.addEventListener("click", () => { limit += PAGE; show(); });

    function set(change) {
      Object.assign(state, change);
      limit = PAGE;
      search.value = state.text;
      corpus.list.value = state.corpus;
      source.list.value = state.source;
      fate.list.value = state.selection && state.reason ? `${state.selection}: ${state.reason}` : "";
      score.list.value = state.score;
      low.value = state.low === null ? "" : state.low;
      high.value = state.high === null ? "" : state.high;
      show();
    }

    function matches(row) {
      const words = state.text.toLowerCase();
      if (words && !row[at.text].toLowerCase().includes(words) && !row[at.id].toLowerCase().includes(words)) return false;
      if (state.corpus && row[at.corpus] !== state.corpus) return false;
      if (state.source && row[at.source] !== state.source) return false;
      if (state.selection && !(row[at.selections] || []).some((one) => one.selection === state.selection && (!state.reason || one.reason === state.reason))) return false;
      if (state.score) {
        const value = row[at[state.score]];
        if (value === null || (state.low !== null && value < state.low)) return false;
        // The last bin of a histogram holds its upper end.
        if (state.high !== null && (state.closed ? value > state.high : value >= state.high)) return false;
      }
      return true;
    }

    const quoted = (text) => `'${text.replaceAll("'", "''")}'`;
    function fullQuery() {
      const where = [];
      if (state.corpus) where.push(`corpus = ${quoted(state.corpus)}`);
      if (state.source) where.push(`source = ${quoted(state.source)}`);
      if (state.score && state.low !== null) where.push(`"${state.score.replaceAll('"', '""')}" >= ${state.low}`);
      if (state.score && state.high !== null) where.push(`"${state.score.replaceAll('"', '""')}" ${state.closed ? "<=" : "<"} ${state.high}`);
      if (state.text) where.push(`contains(lower(text), ${quoted(state.text.toLowerCase())})`);
      if (state.selection) where.push(`reason IS NOT DISTINCT FROM ${state.reason && state.reason !== "kept" ? quoted(state.reason) : "NULL"}`);
      if (!where.length) return "";
      const picked = state.selection ? ` JOIN (SELECT corpus, shard, id, reason FROM selection WHERE selection = ${quoted(state.selection)}) USING (corpus, shard, id)` : "";
      const scored = state.score ? ` JOIN (SELECT corpus, shard, id, "${state.score.replaceAll('"', '""')}" FROM scored) USING (corpus, shard, id)` : "";
      return `SELECT corpus, id, source, ${state.score ? `"${state.score.replaceAll('"', '""')}", ` : ""}left(text, 300) AS beginning\nFROM documents${scored}${picked}\nWHERE ${where.join("\n  AND ")}\nORDER BY hash(id), id LIMIT 50`;
    }

    function card(row) {
      const head = make("div", { class: "head" }, put(make("strong"), row[at.id]));
      for (const one of row[at.selections] || []) {
        const kept = one.reason === "kept";
        head.append(put(make("span", { class: kept ? "chip kept" : "chip cut" }), kept ? `${one.selection}: kept` : `${one.selection}: ${one.reason}`));
      }
      const facts = [values("corpus").length > 2 ? row[at.corpus] : "", row[at.source], `${shown(row[at.characters])} characters`];
      for (const name of new Set([...(state.score ? [state.score] : []), ...told])) {
        if (row[at[name]] !== null) facts.push(`${name} ${shown(row[at[name]])}`);
      }
      head.append(put(make("span", { class: "facts" }), facts.filter(Boolean).join(" · ")));
      const text = row[at.text];
      const rest = row[at.characters] - [...text].length;
      const body = put(make("pre", { tabindex: "0", dir: "auto" }), text, state.text);
      if (rest > 0) body.append(make("span", { class: "sign", text: `and ${shown(rest)} more characters` }));
      return make("article", { class: "card" }, head, body);
    }

    function show() {
      const found = figure.rows.filter(matches);
      if (state.score) found.sort((a, b) => a[at[state.score]] - b[at[state.score]]);
      const filtered = found.length < figure.rows.length;
      status.textContent = filtered
        ? `${shown(found.length)} of the ${shown(figure.rows.length)} documents on this page`
        : `${shown(found.length)} documents`;
      const sql = fullQuery();
      sqlPlace.replaceChildren();
      if (sql) sqlPlace.append(make("details", {}, make("summary", { text: "the query for all of them" }), query(sql)));
      list.replaceChildren(...found.slice(0, limit).map(card));
      more.hidden = found.length <= limit;
    }

    readDocuments = (facts) => {
      const text = (name) => (typeof facts[name] === "string" ? facts[name] : "");
      const known = (name) => (values(name).includes(text(name)) ? text(name) : "");
      const hasScore = scores.includes(text("score"));
      set({
        text: "", corpus: known("corpus"), source: known("source"), selection: text("selection"), reason: text("reason"),
        score: hasScore ? text("score") : "",
        low: hasScore && typeof facts.low === "number" ? facts.low : null,
        high: hasScore && typeof facts.high === "number" ? facts.high : null,
        closed: facts.bin === 19,
      });
      place.scrollIntoView();
      status.tabIndex = -1;
      status.focus({ preventScroll: true });
    };
    set({});
    return place;
  }

  function section(part) {
    const place = make("section", { id: part.name, "aria-labelledby": `${part.name}-title` }, make("h2", { id: `${part.name}-title`, text: part.title }));
    if (part.text) place.append(prose(make("p"), part.text));
    // One choice for all figures of a part that offer it.
    const siblings = { lists: [], choose(name, value) {
      for (const [other, list, values, apply] of siblings.lists) {
        const same = values.find((one) => String(one) === String(value));
        if (other === name && same !== undefined) { list.value = value; apply(same); }
      }
    } };
    const figures = place.appendChild(make("div", { class: "figures" }));
    for (const figure of part.figures) {
      const box = make("div", { class: figure.half ? "figure half" : "figure" });
      if (figure.kind !== "documents" && figure.kind !== "tiles") box.append(put(make("h3"), figure.title));
      if (figure.note) box.append(prose(make("p", { class: "note" }), figure.note));
      if (figure.kind === "tiles") box.append(tiles(figure), behind(figure, () => figure.rows, false).node);
      else if (figure.kind === "documents") box.append(documentsOf(figure));
      else if (figure.kind === "tokens") box.append(tokens(figure), behind(figure, () => figure.rows, true).node);
      else if (figure.charts.length) box.append(chart(figure, siblings));
      else box.append(table(figure, figure.rows, figure.reads), make("details", {}, make("summary", { text: "the query" }), query(figure.sql)));
      figures.append(box);
    }
    return place;
  }

  put(document.getElementById("title"), data.facts.workspace);
  put(document.getElementById("facts"), `${data.facts.corpora.length === 1 ? "corpus" : "corpora"} ${data.facts.corpora.join(", ")} · Tamis ${data.facts.version}`);
  const content = document.getElementById("content"), contents = document.getElementById("contents");
  for (const part of data.sections) {
    content.append(section(part));
    contents.append(make("li", {}, make("a", { href: `#${part.name}`, text: part.title })));
  }
  const links = new Map([...contents.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  const observer = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) {
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(one.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  for (const place of content.querySelectorAll("section")) observer.observe(place);
  document.getElementById("theme").addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));
  let later = 0;
  addEventListener("resize", () => {
    clearTimeout(later);
    later = setTimeout(() => drawn.forEach((again) => again()), 150);
  });
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light").then(() => { document.body.dataset.ready = "true"; });
})();
