// A library of another ABI version: the addon must refuse it before it calls anything.
#include "../../src/native/abi.h"

extern "C" __attribute__((visibility("default"))) const PolarBackendApi* polar_backend_api(void) {
  static const PolarBackendApi api = {
      POLAR_ABI_VERSION + 1, sizeof(PolarBackendApi), "next", nullptr, nullptr, nullptr, nullptr, nullptr,
  };
  return &api;
}
