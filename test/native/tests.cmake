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
  cuda/rotation.cpp)
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
