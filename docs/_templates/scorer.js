/* Ranks of search results: decision notes come after the pages for users; else as Sphinx has them. */
var Scorer = {
  score: ([docname, , , , score]) => (docname.startsWith("decisions/") ? score - 4 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
