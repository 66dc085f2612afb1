// Exports of the trace tools: traceUnion, traceDraw, traceAbort.
#pragma once

#include <napi.h>

namespace polar::addon {

void register_traces(Napi::Env env, Napi::Object exports);

}  // namespace polar::addon
