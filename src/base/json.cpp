#include "base/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

namespace fptq {
namespace {

constexpr std::size_t kMaxDepth = 128;

std::string position(std::string_view text, std::size_t byte) {
  const std::string_view before = text.substr(0, std::min(byte, text.size()));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  return "line " + std::to_string(line) + ", column " +
         std::to_string(before.size() - line_start + 1);
}

// Builds the value bottom-up. nlohmann's own parser neither rejects duplicate keys nor bounds
// the depth.
class Builder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return false; }

  bool start_object(std::size_t /*elements*/) override { return push(Json::object()); }
  bool start_array(std::size_t /*elements*/) override { return push(Json::array()); }
  bool end_object() override { return pop(); }
  bool end_array() override { return pop(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    if (!level.keys.insert(name).second) {
      problem_ = "the key \"" + name + "\" appears twice in one object";
      return false;
    }
    level.key = std::move(name);
    return true;
  }

  bool parse_error(std::size_t byte, const std::string& /*token*/,
                   const nlohmann::detail::exception& error) override {
    byte_ = byte == 0 ? 0 : byte - 1;
    const std::string what = error.what();
    const std::size_t detail = what.find("syntax error");
    problem_ = detail == std::string::npos ? what : what.substr(detail);
    return false;
  }

  Json take() { return std::move(root_); }
  const std::string& problem() const { return problem_; }
  std::size_t byte() const { return byte_; }

 private:
  struct Level {
    Json value;
    std::string key;
    std::set<std::string> keys;  // a tree: hostile files hold millions of keys in any order
  };

  bool push(Json container) {
    if (levels_.size() == kMaxDepth) {
      problem_ = "nested deeper than " + std::to_string(kMaxDepth) + " levels";
      return false;
    }
    levels_.push_back(Level{std::move(container), {}, {}});
    return true;
  }

  bool pop() {
    Json value = std::move(levels_.back().value);
    levels_.pop_back();
    return add(std::move(value));
  }

  bool add(Json value) {
    if (levels_.empty()) {
      root_ = std::move(value);
      return true;
    }
    Level& level = levels_.back();
    if (level.value.is_array()) {
      level.value.push_back(std::move(value));
    } else {
      // Not operator[]: it would search the ordered object again for every key.
      level.value.get_ref<Json::object_t&>().Container::emplace_back(std::move(level.key),
                                                                     std::move(value));
    }
    return true;
  }

  Json root_;
  std::vector<Level> levels_;
  std::string problem_;
  std::size_t byte_ = 0;
};

}  // namespace

Result<Json> parse_json(std::string_view text, const std::string& where) {
  Builder builder;
  if (!Json::sax_parse(text.begin(), text.end(), &builder)) {
    std::string message = where;
    if (builder.byte() != 0) message += ": " + position(text, builder.byte());
    return Error{Error::Kind::kFormat, message + ": expected JSON, got " + builder.problem()};
  }
  return builder.take();
}

Result<Json> parse_json_line(std::string_view line, const std::string& file, std::size_t number) {
  Builder builder;
  if (!Json::sax_parse(line.begin(), line.end(), &builder)) {
    std::string message = file + ": line " + std::to_string(number);
    if (builder.byte() != 0) message += ", column " + std::to_string(builder.byte() + 1);
    return Error{Error::Kind::kFormat, message + ": expected JSON, got " + builder.problem()};
  }
  return builder.take();
}

}  // namespace fptq
