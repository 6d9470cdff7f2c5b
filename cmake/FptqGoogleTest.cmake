# Provides GTest::gtest, GTest::gtest_main and GTest::gmock: the installed library, or, for
# another architecture, a build of the sources that Debian's libgtest-dev brings along.

if(NOT CMAKE_CROSSCOMPILING)
  find_package(GTest REQUIRED)
else()
  find_path(FPTQ_GOOGLETEST_SOURCE googletest/CMakeLists.txt PATHS /usr/src/googletest REQUIRED
            NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
  set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
  add_subdirectory(${FPTQ_GOOGLETEST_SOURCE} ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
endif()
