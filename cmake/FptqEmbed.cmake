# fptq_embed_tasks(<header> <file>...)
#
# Writes a header with the text of every task file, in the order given. The build makes it again
# when one of them changes.
function(fptq_embed_tasks header)
  set(body "// Made from src/eval/tasks/*.yaml by cmake/FptqEmbed.cmake.\n\n#pragma once\n\n")
  string(APPEND body "#include <array>\n#include <string_view>\n\nnamespace fptq::eval {\n\n")
  string(APPEND body "struct BuiltinTask {\n  std::string_view name;\n  std::string_view yaml;\n};\n\n")
  list(LENGTH ARGN count)
  string(APPEND body "inline constexpr std::array<BuiltinTask, ${count}> kBuiltinTasks = {{\n")
  foreach(file IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
    get_filename_component(name ${file} NAME_WE)
    file(READ ${file} text)
    string(APPEND body "    {\"${name}\", R\"task(${text})task\"},\n")
  endforeach()
  string(APPEND body "}};\n\n}  // namespace fptq::eval\n")
  file(CONFIGURE OUTPUT ${header} CONTENT "${body}" @ONLY)
endfunction()
