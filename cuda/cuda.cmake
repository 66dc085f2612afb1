# The CUDA backend. Real code for sm_80 and sm_90a (wgmma, bulk copies), PTX for what comes later.
# Set before enable_language: `native` would need a GPU on the build machine.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real 90-virtual)
endif()
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
enable_language(CUDA)

include(${CMAKE_CURRENT_LIST_DIR}/sources.cmake) # POLAR_CUDA_SOURCES
add_library(polar_cuda SHARED ${POLAR_CUDA_SOURCES} src/native/common/c_api.cpp)
polar_cxx(polar_cuda)
# CMake 3.25 knows no C++20 for CUDA, so the flag is given by hand. The driver API is never linked. A kernel that spills
# registers ends the build: -Werror is ptxas's own here, and spills are what it is asked to warn of.
target_compile_options(polar_cuda PRIVATE
  $<$<COMPILE_LANGUAGE:CUDA>:-std=c++20 -O3 -lineinfo --expt-relaxed-constexpr
  -Xptxas=-warn-spills,-Werror -Xcompiler=-Wall,-Wextra,-fvisibility=hidden>)
target_link_libraries(polar_cuda PRIVATE polar_host ${CMAKE_DL_LIBS} Threads::Threads)
target_link_options(polar_cuda PRIVATE -Wl,--exclude-libs,ALL -Wl,--no-undefined)
# The host compiler sees the runtime's headers only when told.
target_include_directories(polar_cuda SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES})

if(POLAR_TESTS)
  # They drive the library through its C interface on a machine without Node.
  foreach(program cuda_smoke cuda_step)
    add_executable(${program} test/native/${program}.cpp)
    polar_cxx(${program})
    target_link_libraries(${program} PRIVATE ${CMAKE_DL_LIBS})
  endforeach()
endif()
