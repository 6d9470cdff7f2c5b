#include "base/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <sstream>

namespace fptq {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{64} << 10;
constexpr std::size_t kMaxDepth = 8;

// Thrown inside this file only, to leave the library's parser at the first broken rule.
struct Violation {
  YAML::Mark mark;
  std::string message;
};

// Builds the tree from the parser's events, checking every rule as soon as it can be broken. The
// library's own tree would resolve aliases and keep repeated keys silently.
class TreeBuilder final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark& /*mark*/) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(make(YamlNode::Kind::kNull, mark, "", anchor));
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t /*anchor*/) override {
    throw Violation{mark, "expected a value, got an alias. Write the value out"};
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = make(YamlNode::Kind::kScalar, mark, tag, anchor);
    node.scalar = value;
    add(std::move(node));
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value /*style*/) override {
    open(make(YamlNode::Kind::kSequence, mark, tag, anchor), mark);
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value /*style*/) override {
    open(make(YamlNode::Kind::kMapping, mark, tag, anchor), mark);
  }
  void OnMapEnd() override { close(); }

  YamlNode take() { return std::move(root_); }

 private:
  struct Level {
    YamlNode node;
    bool has_key = false;  // the last key has no item yet
  };

  static YamlNode make(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag,
                       YAML::anchor_t anchor) {
    if (anchor != YAML::NullAnchor) throw Violation{mark, "expected a value, got an anchor"};
    // "?" stands for a plain value and "!" for a quoted one.
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw Violation{mark, "expected a value, got the tag " + tag};
    }
    YamlNode node;
    node.kind = kind;
    node.line = static_cast<std::size_t>(std::max(mark.line, 0)) + 1;
    node.column = static_cast<std::size_t>(std::max(mark.column, 0)) + 1;
    return node;
  }

  static YAML::Mark mark_of(const YamlNode& node) {
    YAML::Mark mark;
    mark.line = static_cast<int>(node.line) - 1;
    mark.column = static_cast<int>(node.column) - 1;
    return mark;
  }

  void open(YamlNode node, const YAML::Mark& mark) {
    if (levels_.size() == kMaxDepth) {
      throw Violation{mark, "nested deeper than " + std::to_string(kMaxDepth) + " levels"};
    }
    levels_.push_back(Level{std::move(node), false});
  }

  void close() {
    YamlNode node = std::move(levels_.back().node);
    levels_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (levels_.empty()) {
      root_ = std::move(node);
      return;
    }
    Level& level = levels_.back();
    if (level.node.kind == YamlNode::Kind::kMapping && !level.has_key) {
      set_key(level, node);
      return;
    }
    level.node.items.push_back(std::move(node));
    level.has_key = false;
  }

  static void set_key(Level& level, const YamlNode& node) {
    if (node.kind != YamlNode::Kind::kScalar) {
      throw Violation{mark_of(node), "expected a key, got a " + std::string(node.kind_name())};
    }
    std::vector<std::string>& keys = level.node.keys;
    if (std::find(keys.begin(), keys.end(), node.scalar) != keys.end()) {
      throw Violation{mark_of(node), "the key \"" + node.scalar + "\" appears twice"};
    }
    keys.push_back(node.scalar);
    level.has_key = true;
  }

  YamlNode root_;
  std::vector<Level> levels_;
};

Error error_at(const std::string& where, const YAML::Mark& mark, const std::string& message) {
  YamlNode place;
  place.line = static_cast<std::size_t>(std::max(mark.line, 0)) + 1;
  place.column = static_cast<std::size_t>(std::max(mark.column, 0)) + 1;
  return place.error(where, message);
}

}  // namespace

std::string_view YamlNode::kind_name() const {
  switch (kind) {
    case Kind::kNull:
      return "nothing";
    case Kind::kScalar:
      return "value";
    case Kind::kSequence:
      return "sequence";
    case Kind::kMapping:
      return "mapping";
  }
  return "unknown";
}

std::string YamlNode::place(const std::string& where) const {
  return where + ": line " + std::to_string(line) + ", column " + std::to_string(column);
}

Error YamlNode::error(const std::string& where, const std::string& message) const {
  return Error{Error::Kind::kFormat, place(where) + ": " + message};
}

Result<YamlNode> parse_yaml(std::string_view text, const std::string& where) {
  if (text.size() > kMaxBytes) {
    return Error{Error::Kind::kLimit, where + ": expected at most " + std::to_string(kMaxBytes) +
                                          " bytes, got " + std::to_string(text.size())};
  }
  std::istringstream stream{std::string(text)};
  TreeBuilder builder;
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    TreeBuilder second;
    if (parser.HandleNextDocument(second)) {
      return Error{Error::Kind::kFormat, where + ": expected one document, got several"};
    }
  } catch (const Violation& violation) {
    return error_at(where, violation.mark, violation.message);
  } catch (const YAML::Exception& failure) {
    return error_at(where, failure.mark, "expected YAML, got: " + failure.msg);
  }
  return builder.take();
}

}  // namespace fptq
