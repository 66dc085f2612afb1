# Streaming of activation traces: part of the addon, no backend needed.
set(POLAR_TRACE_CORE
  src/native/traces/bits.cpp
  src/native/traces/draw.cpp
  src/native/traces/file.cpp
  src/native/traces/union.cpp)
set(POLAR_TRACE_SOURCES ${POLAR_TRACE_CORE} src/native/addon_traces.cpp)
