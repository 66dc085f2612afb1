// Runs every registered case and prints TAP; `polar_native_tests FILTER` runs the cases whose name contains FILTER.
#include <cstdio>
#include <cstring>
#include <exception>

#include "check.h"

int main(int argc, char** argv) {
  int number = 0;
  int failed = 0;
  for (const polar::test::Case& test : polar::test::cases()) {
    if (argc > 1 && test.name.find(argv[1]) == std::string::npos) continue;
    polar::test::failures().clear();
    try {
      test.body();
    } catch (const std::exception& error) {
      polar::test::failures().push_back(std::string("exception: ") + error.what());
    }
    const bool ok = polar::test::failures().empty();
    if (!ok) ++failed;
    std::printf("%s %d - %s\n", ok ? "ok" : "not ok", ++number, test.name.c_str());
    for (const std::string& message : polar::test::failures()) std::printf("  # %s\n", message.c_str());
  }
  std::printf("1..%d\n# native: %d passed, %d failed\n", number, number - failed, failed);
  return failed == 0 && number > 0 ? 0 : 1;
}
