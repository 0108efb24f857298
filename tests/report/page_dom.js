// The elements that the script of a page touches, and what it made of them, as JSON.
const fs = require("fs");
const listeners = {}, made = [];
const cell = (text, cls) => ({textContent: text, classList: {contains: (c) => c === cls},
  childNodes: [], appendChild() {}, setAttribute() {}, removeAttribute() {}, getAttribute() {}});
const row = (n, words) => ({hidden: false, dataset: {cell: n}, cells: words.map((w) => cell(w, "r"))});
const rows = [row("0", ["b,1", "0.2 (0.1)"]), row("1", ["=a", "-1.5 (0.1)"]), row("1", ["c", "-"])];
const heads = [cell("estimator", "l"), cell("bias", "r")];
let order = rows.slice();
const body = {get rows() { return order; }, appendChild(r) { order = order.filter((o) => o !== r).concat([r]); }};
const element = (id) => ({id, textContent: "", style: {}, setAttribute() {}, appendChild() {}, append() {},
  replaceChildren() {}, click() {}, addEventListener(e, f) { listeners[id + e] = f; }});
const island = {level: 0.95, zips: []};
const known = {data: {textContent: JSON.stringify(island)},
  measures: {tBodies: [body], tHead: {rows: [{cells: heads}]}},
  cell: {...element("cell"), value: "", selectedIndex: 0, options: [{text: "all"}, {text: "x"}, {text: "y"}]},
  zips: element("zips"), zipped: element("zipped"), csv: element("csv"), latex: element("latex")};
global.document = {getElementById: (id) => known[id], documentElement: {classList: {add() {}}},
  createElement: element, createElementNS: (ns, name) => element(name)};
global.location = {hash: "#cell=1&sort=1"};
global.history = {replaceState(a, b, hash) { global.location.hash = hash; }};
global.Blob = class { constructor(parts) { made.push(parts[0]); } };
URL.createObjectURL = () => "x"; URL.revokeObjectURL = () => {};
eval(fs.readFileSync(process.argv[2], "utf8"));
listeners.csvclick(); listeners.latexclick();
console.log(JSON.stringify({made, order: order.map((r) => r.cells[0].textContent),
  hidden: rows.map((r) => r.hidden)}));
process.exit(0);
