"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const table = document.getElementById("measures");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const picker = document.getElementById("cell");
  const zips = document.getElementById("zips");
  const view = new URLSearchParams(location.hash.slice(1));
  document.documentElement.classList.add("scripted");

  function text(cell) { return cell.textContent.trim(); }
  function key(row, column) {
    const words = text(row.cells[column]);
    const number = parseFloat(words.replace(/,/g, ""));
    return heads[column].classList.contains("l") && !/^[-+.\d][-+.\de]*$/i.test(words) ? words : number;
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") {
      if (Number.isNaN(a) || Number.isNaN(b)) { return Number.isNaN(a) - Number.isNaN(b); }
      return a - b;
    }
    return String(a).localeCompare(String(b));
  }
  function missing(value) { return typeof value === "number" && Number.isNaN(value); }
  function sort(column, down) {
    const keyed = rows.map((row) => [key(row, column), row]);
    keyed.sort((a, b) => {
      if (missing(a[0]) || missing(b[0])) { return missing(a[0]) - missing(b[0]); }
      return (down ? -1 : 1) * compare(a[0], b[0]);
    });
    keyed.forEach((pair) => body.appendChild(pair[1]));
    heads.forEach((head, k) => {
      if (k === column) { head.setAttribute("aria-sort", down ? "descending" : "ascending"); }
      else { head.removeAttribute("aria-sort"); }
    });
  }
  function keep() { history.replaceState(null, "", "#" + view.toString()); }

  function pick(cell) {
    rows.forEach((row) => { row.hidden = cell !== "" && row.dataset.cell !== cell; });
    draw(cell === "" ? "0" : cell);
  }
  function node(name, attributes, words) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.keys(attributes).forEach((k) => made.setAttribute(k, attributes[k]));
    if (words !== undefined) { made.textContent = words; }
    return made;
  }
  function draw(cell) {
    zips.replaceChildren();
    document.getElementById("zipped").textContent = picker.options[Number(cell) + 1].text;
    data.zips.filter((zip) => String(zip.cell) === cell).forEach((zip) => zips.appendChild(figure(zip)));
  }
  function figure(zip) {
    const bytes = Uint8Array.from(atob(zip.intervals), (c) => c.charCodeAt(0));
    const n = bytes.length / 2, width = 260, height = 210, left = 8, top = 22, bottom = 28;
    const x = (q) => left + (width - 2 * left) * q / 255;
    const y = (k) => height - bottom - (height - top - bottom) * (k + 0.5) / n;
    const label = zip.name + ": " + zip.coverage + " of the intervals hold the truth; " + n + " of them are drawn.";
    const svg = node("svg", { viewBox: "0 0 " + width + " " + height, role: "img", "aria-label": label });
    svg.appendChild(node("text", { x: left, y: 14 }, zip.name + "  " + zip.coverage));
    for (let k = 0; k < n; k += 1) {
      const low = bytes[2 * k], high = bytes[2 * k + 1];
      const hit = low <= 127 && high >= 128;
      svg.appendChild(node("line", { x1: x(low), x2: x(high), y1: y(k), y2: y(k), class: hit ? "hit" : "miss" }));
    }
    const zero = x(127.5), nominal = height - bottom - (height - top - bottom) * data.level;
    svg.appendChild(node("line", { x1: zero, x2: zero, y1: top, y2: height - bottom, class: "axis" }));
    svg.appendChild(node("line", { x1: left, x2: width - left, y1: nominal, y2: nominal, class: "nominal" }));
    svg.appendChild(node("text", { x: zero, y: height - 10, "text-anchor": "middle" }, "truth, ± " + zip.range));
    const holder = document.createElement("figure");
    holder.appendChild(svg);
    return holder;
  }

  function shown() {
    const kept = Array.from(body.rows).filter((row) => !row.hidden).map((row) => Array.from(row.cells, text));
    return [heads.map(text)].concat(kept);
  }
  function csv() {
    const names = [];
    heads.forEach((head) => { names.push(text(head)); if (!head.classList.contains("l")) { names.push(text(head) + " mcse"); } });
    const quote = (word) => {
      const safe = /^[=+@\t\r]|^-(?![\d.])/.test(word) ? "'" + word : word;
      return /[",\n]/.test(safe) ? '"' + safe.replace(/"/g, '""') + '"' : safe;
    };
    const lines = shown().slice(1).map((row) => row.flatMap((word, k) => {
      if (heads[k].classList.contains("l")) { return [word]; }
      const parts = word.match(/^(\S+)(?: \((.*)\))?$/) || ["", word, ""];
      return [parts[1] === "-" ? "" : parts[1].replace(/,/g, ""), parts[2] || ""];
    }));
    return [names].concat(lines).map((row) => row.map(quote).join(",")).join("\n") + "\n";
  }
  const MARKS = { "\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}" };
  function tex(word) {
    return word.replace(/[\\~^&%$#_{}]/g, (mark) => MARKS[mark] || "\\" + mark).replace(/^[[*]/, "{$&}");
  }
  function latex() {
    const lines = shown().map((row) => row.map(tex).join(" & ") + " \\\\");
    const columns = heads.map((head) => (head.classList.contains("l") ? "l" : "r")).join("");
    return ["\\begin{tabular}{" + columns + "}", "\\toprule", lines[0], "\\midrule"]
      .concat(lines.slice(1), ["\\bottomrule", "\\end{tabular}", ""]).join("\n");
  }
  function save(words, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([words], { type: "text/plain;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.appendChild(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      sort(column, down);
      view.set("sort", (down ? "-" : "") + column);
      keep();
    });
  });
  picker.addEventListener("change", () => {
    if (picker.value === "") { view.delete("cell"); } else { view.set("cell", picker.value); }
    keep();
    pick(picker.value);
  });
  document.getElementById("csv").addEventListener("click", () => save(csv(), "measures.csv"));
  document.getElementById("latex").addEventListener("click", () => save(latex(), "measures.tex"));
  const asked = view.get("sort");
  if (asked && /^-?\d+$/.test(asked) && Math.abs(asked) < heads.length) {
    sort(Math.abs(Number(asked)), asked[0] === "-");
  }
  picker.value = view.get("cell") || "";
  if (picker.selectedIndex < 0) { picker.value = ""; }
  pick(picker.value);
})();
