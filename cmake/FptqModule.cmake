# fptq_add_module(<name> SOURCES <file>... [TESTS <file>...] [USES <module>...] [LIBS <target>...]
#                 [PRIVATE_LIBS <target>...] [LABEL <label>])
#
# Builds src/<name> as the static library fptq_<name>, linked with the modules it USES, and its
# unit tests as fptq_<name>_test, whose cases ctest knows one by one under the label LABEL
# (default: unit).

# -ffp-contract=off: SIMD variants must round exactly like the scalar reference.
add_library(fptq_options INTERFACE)
target_compile_options(fptq_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wold-style-cast
  -ffp-contract=off $<$<BOOL:${FPTQ_WERROR}>:-Werror>
  # gcc 12 sees overlapping copies in every `"literal" + std::string` (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # Its data flow analysis loses track in instrumented code.
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<BOOL:${FPTQ_SANITIZED}>>:-Wno-maybe-uninitialized>)
target_include_directories(fptq_options INTERFACE ${PROJECT_SOURCE_DIR}/src)

function(fptq_add_module name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "LABEL" "SOURCES;TESTS;USES;LIBS;PRIVATE_LIBS")
  add_library(fptq_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(fptq_${name} PUBLIC fptq_options ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
  foreach(module IN LISTS ARG_USES)
    target_link_libraries(fptq_${name} PUBLIC fptq_${module})
  endforeach()
  if(FPTQ_TESTS AND ARG_TESTS)
    fptq_add_test(fptq_${name}_test SOURCES ${ARG_TESTS} LIBS fptq_${name} LABEL ${ARG_LABEL})
  endif()
endfunction()

# fptq_add_test(<target> SOURCES <file>... LIBS <target>... [LABEL <label>])
#
# A GoogleTest program. Tests find the repository's shared test data, where there is any, in the
# directory named by FPTQ_TEST_DATA (tests/support/test_data.h).
function(fptq_add_test target)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "LABEL" "SOURCES;LIBS")
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  add_executable(${target} ${ARG_SOURCES})
  target_link_libraries(${target} PRIVATE ${ARG_LIBS} GTest::gtest_main)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_compile_definitions(${target} PRIVATE FPTQ_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  include(GoogleTest)
  # NO_PRETTY_VALUES: a test is called the same by ctest and by --gtest_filter.
  gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST DISCOVERY_TIMEOUT 120 NO_PRETTY_VALUES
                       PROPERTIES LABELS "${ARG_LABEL}" TIMEOUT 600)
endfunction()
