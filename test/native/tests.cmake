# Native tests: one program for the host code, run by `npm run test:native`.
add_executable(polar_native_tests
  test/native/main.cpp
  test/native/stopping_test.cpp
  test/native/measure_test.cpp
  test/native/problem_test.cpp
  test/native/attention_config_test.cpp
  test/native/mlp_config_test.cpp
  test/native/router_config_test.cpp
  test/native/cuda_memory_test.cpp
  cuda/rotation.cpp
  cuda/step/residency.cpp)
polar_cxx(polar_native_tests)
target_link_libraries(polar_native_tests PRIVATE polar_host Threads::Threads ${CMAKE_DL_LIBS})
# Test sources of the CPU backend, added by one line each:
include(test/native/cpu_tests.cmake OPTIONAL)
include(test/native/traces_tests.cmake OPTIONAL)
# Libraries that the contract tests put beside the addon in place of a backend.
add_library(polar_fake SHARED test/native/fake_library.cpp src/native/common/c_api.cpp)
polar_cxx(polar_fake)
target_link_libraries(polar_fake PRIVATE polar_host Threads::Threads)
target_link_options(polar_fake PRIVATE -Wl,--exclude-libs,ALL -Wl,--no-undefined)
add_library(polar_next_abi SHARED test/native/next_abi.cpp)
polar_cxx(polar_next_abi)
# Decode steps of a backend library against fixtures of an independent implementation. Alone, as the library is opened
# at run time: it serves the CUDA backend too.
add_executable(polar_step_fixtures test/native/step_fixture_test.cpp)
polar_cxx(polar_step_fixtures)
target_link_libraries(polar_step_fixtures PRIVATE ${CMAKE_DL_LIBS})
target_compile_definitions(polar_native_tests PRIVATE POLAR_FIXTURES="${CMAKE_SOURCE_DIR}/test/fixtures")
