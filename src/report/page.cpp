#include "report/page.h"

#include "report/format.h"

namespace fptq::report {
namespace {

// Colors as variables, so that the charts follow the reader's light or dark system.
constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --page: #ffffff; --ink: #1d2430; --soft: #5c6675; --line: #dfe3e8;
  --panel: #f6f7f9; --bar: #2f6fde; --base: #9aa4b2; --warn: #8a5a00; --warnbg: #fff6e0; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --ink: #e4e8ee; --soft: #9aa4b2;
  --line: #2b323c; --panel: #1a2028; --bar: #6ea2ff; --base: #667080; --warn: #ffd27d; --warnbg: #33290f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 2rem 1.25rem 4rem; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p { margin: .5rem 0; max-width: 48rem; } .soft { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
.number { text-align: right; }
.main { margin-bottom: .25rem; } .main tbody tr:first-child { background: var(--panel); }
.charts { display: grid; margin-top: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; padding: 1rem 1rem .75rem; background: var(--panel); border: 1px solid var(--line); border-radius: 8px; }
figcaption { font-weight: 600; font-size: .95rem; margin-bottom: .6rem; }
svg { display: block; width: 100%; height: auto; font-size: 14px; }
svg text { fill: var(--ink); } svg .tick { fill: var(--soft); font-size: 12px; } svg .value { font-variant-numeric: tabular-nums; }
.bar { fill: var(--bar); } .bar.baseline { fill: var(--base); }
.error { stroke: var(--ink); stroke-width: 1.5; } .axis { stroke: var(--soft); } .grid { stroke: var(--line); }
.range { stroke: var(--bar); stroke-width: 3; stroke-linecap: round; opacity: .45; } .mark { fill: var(--bar); }
.warning { background: var(--warnbg); color: var(--warn); border-radius: 6px; padding: .5rem .9rem; margin: .5rem 0; max-width: none; }
details { border: 1px solid var(--line); border-radius: 8px; padding: .6rem 1rem; margin: .6rem 0; }
summary { cursor: pointer; font-weight: 600; }
.facts th { font-weight: 400; vertical-align: top; border-bottom-width: 1px; }
.facts td { white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .85rem; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
)";

}  // namespace

std::string html_page(const std::string& title, const std::string& body) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
         "<meta name=\"generator\" content=\"fptq\">\n<title>fptq: " +
         escape_html(title) + "</title>\n<style>" + kStyle + "</style>\n</head>\n<body>\n" + body +
         "</body>\n</html>\n";
}

std::string paragraph(const std::string& html) {
  return "<p class=\"soft\">" + html + "</p>\n";
}

std::string facts(const std::vector<std::pair<std::string, std::string>>& lines) {
  if (lines.empty()) return "";
  std::string text = "<h2>How this was measured</h2>\n<table class=\"facts\"><tbody>\n";
  for (const auto& [name, value] : lines) {
    text += "<tr><th scope=\"row\">" + escape_html(name) + "</th><td>" + escape_html(value) +
            "</td></tr>\n";
  }
  return text + "</tbody></table>\n";
}

}  // namespace fptq::report
