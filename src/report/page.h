// What every page has in common: it needs nothing else, no script and no other file, and is light
// or dark as the reader's system.

#pragma once

#include <string>
#include <utility>
#include <vector>

namespace fptq::report {

// A whole page. title: text; body: HTML.
[[nodiscard]] std::string html_page(const std::string& title, const std::string& body);

// A paragraph beside the matter. html: HTML.
[[nodiscard]] std::string paragraph(const std::string& html);

// "How this was measured", names and values as text; nothing where there are none.
[[nodiscard]] std::string facts(const std::vector<std::pair<std::string, std::string>>& lines);

}  // namespace fptq::report
