# Native tests of the CPU backend, the references and the shared number formats. The backend's sources are compiled in:
# its library exports one C function only.
target_sources(polar_native_tests PRIVATE
  ${POLAR_CPU_SOURCES}
  test/native/cpu_blocks_test.cpp
  test/native/cpu_decoder_test.cpp
  test/native/cpu_kernels_test.cpp
  test/native/cpu_parts_test.cpp
  test/native/random_half_test.cpp
  test/native/decoder_reference_test.cpp
  test/native/reference_test.cpp)
