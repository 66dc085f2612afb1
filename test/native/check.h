// A minimal test frame: TEST(name) { CHECK(...); } registers itself; main.cpp runs all and prints TAP.
#pragma once

#include <cmath>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace polar::test {

struct Case {
  std::string name;
  std::function<void()> body;
};

inline std::vector<Case>& cases() {
  static std::vector<Case> list;
  return list;
}

struct Register {
  Register(const char* name, std::function<void()> body) { cases().push_back({name, std::move(body)}); }
};

// Messages of the running case; empty = passed.
inline std::vector<std::string>& failures() {
  static std::vector<std::string> list;
  return list;
}

template <typename A, typename B>
void check_equal(const A& a, const B& b, const char* text, const char* file, int line) {
  if (a == b) return;
  std::ostringstream out;
  out.precision(17);
  out << file << ":" << line << ": " << text << ": " << a << " != " << b;
  failures().push_back(out.str());
}

inline void check_true(bool value, const char* text, const char* file, int line) {
  if (!value) failures().push_back(std::string(file) + ":" + std::to_string(line) + ": " + text);
}

}  // namespace polar::test

#define POLAR_TEST_JOIN2(a, b) a##b
#define POLAR_TEST_JOIN(a, b) POLAR_TEST_JOIN2(a, b)
#define TEST(name)                                                                                                 \
  static void POLAR_TEST_JOIN(test_body_, __LINE__)();                                                             \
  static ::polar::test::Register POLAR_TEST_JOIN(test_register_, __LINE__)(name,                                   \
                                                                           POLAR_TEST_JOIN(test_body_, __LINE__)); \
  static void POLAR_TEST_JOIN(test_body_, __LINE__)()
#define CHECK(condition) ::polar::test::check_true((condition), #condition, __FILE__, __LINE__)
#define CHECK_EQ(a, b) ::polar::test::check_equal((a), (b), #a " == " #b, __FILE__, __LINE__)
#define CHECK_NEAR(a, b, tolerance) \
  ::polar::test::check_true(std::fabs((a) - (b)) <= (tolerance), #a " near " #b, __FILE__, __LINE__)
// The statement must throw NativeError with this code.
#define CHECK_THROWS(statement, expected_code)                                                      \
  do {                                                                                              \
    std::string thrown = "nothing";                                                                 \
    try {                                                                                           \
      statement;                                                                                    \
    } catch (const ::polar::NativeError& error) {                                                   \
      thrown = error.code();                                                                        \
    }                                                                                               \
    ::polar::test::check_equal(thrown, std::string(expected_code), #statement, __FILE__, __LINE__); \
  } while (false)
