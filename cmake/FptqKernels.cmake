# fptq_add_kernel(<kernel> VARIANTS <isa>... [SOURCES <file>...] [TESTS <file>...])
#
# Compiles src/kernels/<kernel>/<isa>.cpp once per ISA of this target architecture, each as its
# own object library with exactly the flags in FPTQ_ISA_FLAGS_<isa>, and links them into
# fptq_kernels; SOURCES (dispatch.cpp, packing) are compiled without ISA flags. Registers
#   the cases of <kernel>_test   every variant against the scalar reference (label: kernel)
#   odr.<kernel>_<isa>           the object exports its entry points and nothing inline
# and, with FPTQ_BENCH, builds <kernel>_bench.

set(FPTQ_ISA_FLAGS_scalar "")
set(FPTQ_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c)
set(FPTQ_ISA_FLAGS_avxvnni -mavx2 -mfma -mf16c -mavxvnni)
set(FPTQ_ISA_FLAGS_avx512vnni -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl
    -mavx512vnni -mprefer-vector-width=512)
set(FPTQ_ISA_FLAGS_amx ${FPTQ_ISA_FLAGS_avx512vnni} -mamx-tile -mamx-int8)
set(FPTQ_ISA_FLAGS_neon -march=armv8.2-a+dotprod)
set(FPTQ_ISA_FLAGS_i8mm -march=armv8.2-a+dotprod+i8mm)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  set(FPTQ_ISAS scalar avx2 avxvnni avx512vnni amx)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  set(FPTQ_ISAS scalar neon i8mm)
else()
  set(FPTQ_ISAS scalar)
endif()

function(fptq_add_kernel kernel)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "" "" "VARIANTS;SOURCES;TESTS")
  set(dir ${CMAKE_CURRENT_SOURCE_DIR}/${kernel})
  foreach(source IN LISTS ARG_SOURCES)
    target_sources(fptq_kernels PRIVATE ${dir}/${source})
  endforeach()
  foreach(isa IN LISTS ARG_VARIANTS)
    if(NOT isa IN_LIST FPTQ_ISAS)
      continue()
    endif()
    set(object ${kernel}_${isa})
    add_library(${object} OBJECT ${dir}/${isa}.cpp)
    target_compile_options(${object} PRIVATE ${FPTQ_ISA_FLAGS_${isa}})
    target_link_libraries(${object} PRIVATE fptq_options)
    target_sources(fptq_kernels PRIVATE $<TARGET_OBJECTS:${object}>)
    if(FPTQ_TESTS AND NOT isa STREQUAL "scalar" AND NOT FPTQ_SANITIZED)
      add_test(NAME odr.${object}
        COMMAND ${CMAKE_COMMAND} -DNM=${CMAKE_NM} -DOBJECT=$<TARGET_OBJECTS:${object}>
                -P ${PROJECT_SOURCE_DIR}/cmake/check_no_weak_symbols.cmake)
      set_tests_properties(odr.${object} PROPERTIES LABELS "unit;odr")
    endif()
  endforeach()

  if(FPTQ_TESTS AND ARG_TESTS)
    list(TRANSFORM ARG_TESTS PREPEND ${dir}/)
    fptq_add_test(${kernel}_test SOURCES ${ARG_TESTS} LIBS fptq_kernels LABEL kernel)
  endif()
  if(FPTQ_BENCH AND EXISTS ${dir}/${kernel}_bench.cpp)
    find_package(benchmark REQUIRED)
    add_executable(${kernel}_bench ${dir}/${kernel}_bench.cpp)
    target_link_libraries(${kernel}_bench PRIVATE fptq_kernels benchmark::benchmark)
  endif()
endfunction()
