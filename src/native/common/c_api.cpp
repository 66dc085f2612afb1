// The C functions of abi.h on top of Backend: no exception leaves this file.
#include <cstdio>
#include <new>

#include "backend.h"
#include "error.h"

namespace polar {
namespace {

void set_error(PolarResult* result, const char* code, const char* message) {
  result->status = POLAR_FAILED;
  std::snprintf(result->code, sizeof result->code, "%s", code);
  std::snprintf(result->message, sizeof result->message, "%s", message);
}

template <typename Body>
void at_boundary(PolarResult* result, Body body) {
  *result = PolarResult{};
  result->stop = POLAR_STOP_NOT_TIMED;
  try {
    body();
  } catch (const NativeError& error) {
    set_error(result, error.code(), error.what());
  } catch (const Cancelled&) {
    set_error(result, "E_NATIVE", "The call was cancelled");
  } catch (const std::bad_alloc&) {
    set_error(result, "E_OUT_OF_MEMORY", "The host ran out of memory");
  } catch (const std::exception& error) {
    set_error(result, "E_NATIVE", error.what());
  } catch (...) {
    set_error(result, "E_NATIVE", "An exception of unknown type");
  }
}

void describe(int32_t device, const PolarSink* sink, PolarResult* result) {
  at_boundary(result, [&] { backend().describe(device, Reporter(*sink)); });
}

void list_kernels(const PolarSink* sink, PolarResult* result) {
  at_boundary(result, [&] {
    const Reporter reporter(*sink);
    for (const std::string& id : backend().kernels()) reporter.text("kernel", id);
  });
}

void ceilings(int32_t dtype, const PolarOptions* options, const PolarSink* sink, PolarResult* result) {
  at_boundary(result, [&] { backend().measure_ceilings(dtype, *options, Reporter(*sink)); });
}

void cell(const PolarProblem* problem, const PolarCandidate* candidates, int32_t count, const PolarOptions* options,
          const PolarSink* sink, PolarResult* result) {
  at_boundary(result, [&] {
    const std::vector<PolarCandidate> list(candidates, candidates + count);
    result->stop = measure_cell(backend(), *problem, list, *options, Reporter(*sink));
  });
}

void evaluate_tensors(const PolarProblem* problem, const PolarCandidate* candidate, const PolarOptions* options,
                      const PolarTensors* tensors, const PolarSink* sink, PolarResult* result) {
  at_boundary(result, [&] { evaluate(backend(), *problem, *candidate, *options, *tensors, Reporter(*sink)); });
}

}  // namespace
}  // namespace polar

extern "C" __attribute__((visibility("default"))) const PolarBackendApi* polar_backend_api(void) {
  static const PolarBackendApi api = {
      POLAR_ABI_VERSION, sizeof(PolarBackendApi), polar::backend().name(),
      polar::describe,   polar::list_kernels,     polar::ceilings,
      polar::cell,       polar::evaluate_tensors,
  };
  return &api;
}
