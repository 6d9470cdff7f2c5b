# fptq_text_bridge: rust/text-bridge as an imported static library, built by cargo.
#
# cargo's output goes to FPTQ_RUST_TARGET_DIR. The presets share one such directory, because the
# library does not depend on C++ flags and its first build takes minutes.

set(FPTQ_RUST_TARGET_DIR ${CMAKE_BINARY_DIR}/rust CACHE PATH "Where cargo builds rust/text-bridge")
find_program(FPTQ_CARGO cargo
             DOC "Rust's build tool, 1.85 or newer" REQUIRED)

set(bridge_dir ${PROJECT_SOURCE_DIR}/rust/text-bridge)
set(bridge_library ${FPTQ_RUST_TARGET_DIR}/release/libfptq_text_bridge.a)
file(GLOB_RECURSE bridge_sources CONFIGURE_DEPENDS ${bridge_dir}/src/*.rs)

# cargo leaves the library untouched where nothing in it changed; the stamp has the time of the last
# look, so that the next build does not look again.
set(bridge_stamp ${CMAKE_BINARY_DIR}/fptq_text_bridge.stamp)
add_custom_command(
  OUTPUT ${bridge_stamp}
  BYPRODUCTS ${bridge_library}
  COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${FPTQ_RUST_TARGET_DIR}
          ${FPTQ_CARGO} build --release --locked --quiet --manifest-path ${bridge_dir}/Cargo.toml
  COMMAND ${CMAKE_COMMAND} -E touch ${bridge_stamp}
  DEPENDS ${bridge_sources} ${bridge_dir}/Cargo.toml ${bridge_dir}/Cargo.lock
  COMMENT "Building rust/text-bridge with cargo"
  VERBATIM)
add_custom_target(fptq_text_bridge_build DEPENDS ${bridge_stamp})

add_library(fptq_text_bridge STATIC IMPORTED GLOBAL)
set_target_properties(fptq_text_bridge PROPERTIES
  IMPORTED_LOCATION ${bridge_library}
  # What Rust's standard library needs of the system.
  INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
add_dependencies(fptq_text_bridge fptq_text_bridge_build)
